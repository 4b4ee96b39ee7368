"""A cell of the matrix: one training of one algorithm on one environment with one seed, in a folder of its own."""

import inspect
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from filelock import FileLock
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from experiments.control.checkpoints import Checkpoint
from experiments.runner.algorithms import ALGORITHMS, Algorithm
from experiments.runner.environments import ARGUMENTS
from experiments.runner.tasks import OtherStudyError, Result, Task, write_json, write_text
from experiments.runner.versions import environment_versions, machine, revision
from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import ResumableCheckpoint

EVALUATION_SEED = 1_000_000  # first states of evaluations: the same for all algorithms, none that training has seen
LAST = 3  # evaluations whose mean is a run's return at the end


class Stopwatch:
    """Wall and processor seconds of a run from the making of its model on, evaluations left out."""

    def __init__(self) -> None:
        self._before = np.zeros(2)
        self._start = self._now()

    @staticmethod
    def _now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    @property
    def seconds(self) -> list[float]:
        """Wall and processor seconds so far."""
        return [float(value) for value in self._before + self._now() - self._start]

    def go_on_from(self, seconds: list[float]) -> None:
        """Count on from the seconds of an interrupted run."""
        self._before, self._start = np.array(seconds), self._now()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs inside does not count."""
        before = self.seconds
        try:
            yield
        finally:
            self.go_on_from(before)


class Evaluations(EvalCallback):
    """
    SB3's evaluation, whose state can be kept, with seconds of training beside it in ``evaluations.csv``.

    Each evaluation starts from first states of its own, the same for all algorithms and after any interruption.

    :param environment: id of the environment
    :param seed: of the run
    :param episodes: of each evaluation
    :param every: environment steps between evaluations
    :param folder: for ``evaluations.npz`` and ``evaluations.csv``
    :param stopwatch: seconds of training
    """

    def __init__(
        self, environment: str, seed: int, episodes: int, every: int, folder: Path, stopwatch: Stopwatch
    ) -> None:
        env = Monitor(gym.make(environment))
        super().__init__(env, n_eval_episodes=episodes, eval_freq=every, log_path=str(folder), verbose=0)
        self.seed, self.folder, self.stopwatch = seed, folder, stopwatch
        self.seconds: list[list[float]] = []

    def _on_step(self) -> bool:
        if self.n_calls % self.eval_freq != 0:
            return True
        with self.stopwatch.paused():
            self.seconds.append(self.stopwatch.seconds)
            self.eval_env.seed(EVALUATION_SEED * (self.seed + 1) + self.n_calls)
            going_on = super()._on_step()
            write_text(self.folder / "evaluations.csv", self.table().to_csv(index=False, lineterminator="\n"))
        return going_on

    def table(self) -> pd.DataFrame:
        """A row for each evaluation: environment steps, seconds, and the return and length of each episode."""
        columns = {"steps": np.array(self.evaluations_timesteps)}
        seconds = np.array(self.seconds).reshape(-1, 2).round(2)
        columns |= {"wall_seconds": seconds[:, 0], "processor_seconds": seconds[:, 1]}
        for name, values in (("return", self.evaluations_results), ("length", self.evaluations_length)):
            episodes = np.array(values).reshape(-1, self.n_eval_episodes)
            columns |= {f"{name}_{i}": episodes[:, i] for i in range(self.n_eval_episodes)}
        return pd.DataFrame(columns)

    def get_state(self) -> dict[str, Any]:
        """What has been found so far."""
        return {
            "timesteps": self.evaluations_timesteps,
            "returns": [[float(value) for value in row] for row in self.evaluations_results],
            "lengths": [[int(value) for value in row] for row in self.evaluations_length],
            "evaluation_seconds": self.seconds,
            "seconds": self.stopwatch.seconds,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with the evaluations of a checkpoint."""
        self.evaluations_timesteps = state["timesteps"]
        self.evaluations_results, self.evaluations_length = state["returns"], state["lengths"]
        self.seconds = state["evaluation_seconds"]
        self.stopwatch.go_on_from(state["seconds"])


@dataclass(frozen=True)
class Cell(Task):
    """
    One training; its name is that of its result, ``ENVIRONMENT/ALGORITHM/SEED/result``.

    :param folder: of the cell
    :param algorithm: what is trained
    """

    folder: Path
    algorithm: Algorithm

    @property
    def identity(self) -> dict[str, Any]:
        """Settings, versions and the algorithm's defaults, not those of other algorithms."""
        return {
            "settings": self.settings,
            "versions": self.algorithm.versions() | environment_versions(self.settings["environment"]),
            "defaults": self.algorithm.defaults(),
        }

    def __call__(self) -> Result:
        """Train, or go on; no two processes at the same time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock", timeout=0):
            path = self.folder / "settings.json"
            if path.exists() and json.loads(path.read_text(encoding="utf-8")) != self.identity:
                raise OtherStudyError(f"{self.folder} holds a run of other settings or versions: delete it")
            write_json(path, self.identity)
            return super().__call__()


def cell(
    name: str, environment: str, seed: int, steps: int, eval_freq: int, eval_episodes: int, save_freq: int, out: Path
) -> Cell:
    """
    A cell of the matrix.

    :param name: of the algorithm in ``ALGORITHMS``
    :param environment: id of the environment
    :param seed: of the run
    :param steps: environment steps
    :param eval_freq: environment steps between evaluations
    :param eval_episodes: episodes of each evaluation
    :param save_freq: environment steps between checkpoints
    :param out: folder of the matrix
    :raises ValueError: if the run would end before its first evaluation
    """
    if not 1 <= eval_freq <= steps:
        raise ValueError(f"eval_freq must be between 1 and steps={steps}, got {eval_freq}")
    algorithm, task = ALGORITHMS[name], f"{environment}/{name}/{seed}"
    settings = {
        "algorithm": name,
        "environment": environment,
        "seed": seed,
        "steps": steps,
        "eval_freq": eval_freq,
        "eval_episodes": eval_episodes,
    }
    folder = out / task
    return Cell(
        f"{task}/result",
        train,
        {**settings, "save_freq": save_freq, "folder": folder},
        {**settings, "arguments": {**algorithm.arguments, **ARGUMENTS.get(environment, {})}},
        folder,
        algorithm,
    )


def train(
    algorithm: str,
    environment: str,
    seed: int,
    steps: int,
    eval_freq: int,
    eval_episodes: int,
    save_freq: int,
    folder: Path,
) -> Result:
    """
    Train one model, or go on with it from the latest checkpoint in its folder.

    :return: the return at the end, seconds of training and the machine; ``evaluations.csv`` holds the curve
    """
    stopwatch = Stopwatch()
    evaluations = Evaluations(environment, seed, eval_episodes, eval_freq, folder, stopwatch)
    checkpoints = folder / "checkpoints"
    finished = folder / "model.zip"
    if not finished.exists():
        chosen = ALGORITHMS[algorithm]
        model_class = chosen.model_class
        env = gym.make(environment)
        callbacks: list[BaseCallback] = [evaluations]
        model: OffPolicyAlgorithm | None = None
        if issubclass(model_class, FlowSAC):
            callbacks.append(ResumableCheckpoint(checkpoints, save_freq, verbose=0))
        else:
            callbacks.append(checkpoint := Checkpoint(checkpoints, save_freq, evaluations))
            model = checkpoint.latest(model_class, env)
        if model is None:
            # A buffer that the run cannot fill differs in nothing but the size of its checkpoints
            default = inspect.signature(model_class).parameters["buffer_size"].default
            size = min(steps, chosen.arguments.get("buffer_size", default))
            model = chosen.make(env, seed=seed, buffer_size=size, **ARGUMENTS.get(environment, {}))
        model.learn(steps - model.num_timesteps, callback=callbacks, reset_num_timesteps=model.num_timesteps == 0)
        model.save(folder / "unfinished.zip")
        (folder / "unfinished.zip").rename(finished)
    shutil.rmtree(checkpoints, ignore_errors=True)
    table = pd.read_csv(folder / "evaluations.csv")
    returns = table.filter(like="return_").to_numpy()
    return {
        "final_return": float(returns[-LAST:].mean()),
        **{name: float(table[name].iloc[-1]) for name in ("wall_seconds", "processor_seconds")},
        "machine": machine(),
        "revision": revision(),
    }
