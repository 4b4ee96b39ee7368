"""Short runs of FlowSAC that are interrupted, and what there is to compare when they have ended."""

import random

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import ResumableCheckpoint

TOTAL = 40
TINY = {"learning_starts": 20, "batch_size": 8, "buffer_size": 30, "n_proposals": 4, "seed": 0, "device": "cpu"}
TINY["learning_rate"] = 1e-3  # constant, so that runs may be longer than their checkpoints said


def lqr(n_envs=1, episode_steps=7, **kwargs):
    """Episodes that end by their time limit, often."""
    env_kwargs = {"max_episode_steps": episode_steps, **kwargs}
    return make_vec_env("maxent_envs:MaxEntLQR-v0", n_envs=n_envs, seed=0, env_kwargs=env_kwargs)


def small(env=None, **kwargs):
    policy_kwargs = {"net_arch": [8], "ode_steps": 1, "density": "trace", **kwargs.pop("policy_kwargs", {})}
    own = {"env": lqr(), "gamma": 0.95} if env is None else {"env": env}
    return FlowSAC("FlowPolicy", policy_kwargs=policy_kwargs, **{**TINY, **own, **kwargs})


class Stopped(Exception):
    """Stands for whatever ends a process."""


class Stop(BaseCallback):
    """End the run at a step, in the middle of a rollout."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def _on_step(self):
        if self.num_timesteps >= self.at:
            raise Stopped
        return True


def resume(model, folder, total=TOTAL, save_freq=5):
    """Start a run, or go on where it was."""
    return model.learn(total, callback=ResumableCheckpoint(folder, save_freq, verbose=0))


def stop_at(step, model, folder, save_freq=5, total=TOTAL):
    with pytest.raises(Stopped):
        model.learn(total, callback=[ResumableCheckpoint(folder, save_freq, verbose=0), Stop(step)])


def scramble():
    """A new process starts with other global random states."""
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)


def everything(model):
    """All that training changes and that can be seen from outside."""
    tensors = {**model.policy.state_dict(), "alpha": model.entropy_coefficient()}
    for name, optimizer in (("actor", model.actor.optimizer), ("critic", model.critic.optimizer)):
        states = optimizer.state_dict()["state"]
        tensors |= {f"{name}.{i}.{key}": value for i, state in states.items() for key, value in state.items()}
    arrays = {name: value.numpy() for name, value in tensors.items()}
    contents = vars(model.replay_buffer).items()
    arrays |= {f"buffer.{name}": value for name, value in contents if isinstance(value, int | np.ndarray)}
    arrays |= {"last_obs": model._last_obs, "steps": model.num_timesteps, "updates": model._n_updates}
    arrays |= {"episodes": model._episode_num, "returns": [float(episode["r"]) for episode in model.ep_info_buffer]}
    arrays |= {"python": random.random(), "numpy": np.random.random(), "torch": torch.rand(1).numpy()}
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None:
        arrays |= {"reward_var": normalizer.ret_rms.var, "running": normalizer.returns}
    if normalizer is not None and normalizer.norm_obs:
        arrays |= {"mean": normalizer.obs_rms.mean}
    return arrays


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name, strict=True)
