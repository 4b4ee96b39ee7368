"""Checkpoints for the peers' algorithms, from SB3's own ways to save a model and its replay buffer."""

import json
import pickle
import random
import shutil
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm


class Stateful(Protocol):
    """A callback whose state can be kept."""

    n_calls: int

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any]) -> None: ...


class Checkpoint(BaseCallback):
    """
    Keep model, replay buffer, random generators and another callback's state, the latest only, none half written.

    A run that goes on from a checkpoint starts a new episode.

    :param folder: for the checkpoints
    :param save_freq: environment steps between them
    :param other: the callback whose state is kept, too
    """

    def __init__(self, folder: Path, save_freq: int, other: Stateful) -> None:
        super().__init__()
        self.folder, self.save_freq, self.other = folder, save_freq, other

    def _on_rollout_start(self) -> None:
        path = self.folder / str(self.n_calls)
        if self.n_calls > 0 and self.n_calls % self.save_freq == 0 and not path.exists():
            self._save(path)

    def _on_step(self) -> bool:
        return True

    def _save(self, path: Path) -> None:
        earlier = list(self.folder.glob("*")) if self.folder.exists() else []
        new = self.folder / "new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        self.model.save(new / "model")
        self.model.save_replay_buffer(new / "buffer")
        with (new / "random.pkl").open("wb") as file:
            pickle.dump((random.getstate(), np.random.get_state(), torch.get_rng_state()), file)
        (new / "state.json").write_text(json.dumps(self.other.get_state()), encoding="utf-8")
        new.rename(path)
        for old in earlier:
            shutil.rmtree(old, ignore_errors=True)

    def latest(self, model_class: type[OffPolicyAlgorithm], env: gym.Env) -> OffPolicyAlgorithm | None:
        """
        The model of the latest checkpoint, with all else put back, or ``None`` if there is none.

        :param model_class: its class
        :param env: what it is trained on
        """
        found = [path for path in self.folder.glob("*") if path.name.isdecimal()]
        if not found:
            return None
        path = max(found, key=lambda path: int(path.name))
        model = model_class.load(path / "model", env=env, device="cpu")
        model.load_replay_buffer(path / "buffer")
        self.n_calls = self.other.n_calls = model.num_timesteps
        self.other.set_state(json.loads((path / "state.json").read_text(encoding="utf-8")))
        model.get_env().seed(model.seed + model.num_timesteps)  # other episodes than the run has begun with
        with (path / "random.pkl").open("rb") as file:
            states = pickle.load(file)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        return model
