"""``flowsac show``: pictures of a saved model, in a folder and on one page."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from maxent_envs import LQRProblem, Target
from sb3_flowsac.algorithm import FlowPolicy, FlowSAC
from sb3_flowsac.evaluation.known_optimum import task_of
from sb3_flowsac.files.loading import policy_of
from sb3_flowsac.files.writing import replacing
from sb3_flowsac.plotting import learning_curves, policy_figures, read_curve, save_figure

N_OBSERVATIONS = 64
ROLLOUT_STEPS = 200
LARGE = 1e30  # no bound is meant
PAGE = "index.html"
LEARNING_CURVE = "learning_curve"


def states(
    saved: FlowSAC | FlowPolicy, env_id: str | None, env_kwargs: dict[str, Any] | None = None
) -> tuple[Any, Target | LQRProblem | None]:
    """
    The states in which a policy is drawn.

    :param saved: a model or a policy
    :param env_id: environment that it visits them in; if None they are drawn from its observation space
    :param env_kwargs: arguments of the environment
    :return: a batch of observations, and the environment's task if its optimum is known
    :raises ValueError: if the environment's spaces are not the policy's, it refuses its arguments, or there is none
        such
    """
    if env_id is None:
        return _sampled(policy_of(saved)), None
    try:
        env = FlowSAC._wrap_env(
            DummyVecEnv([lambda: gym.make(env_id, **(env_kwargs or {}))]), verbose=0
        )  # channels first
    except (gym.error.Error, TypeError) as error:
        raise ValueError(str(error)) from error
    return _visited(saved, env), task_of(env)


def show(
    saved: FlowSAC | FlowPolicy, path: Path, obs: Any, task: Target | LQRProblem | None = None, out: Path | None = None
) -> list[Path]:
    """
    Draw a policy, and its learning curve if files of a ``Monitor`` or an ``EvalCallback`` lie beside it.

    :param saved: a model or a policy
    :param path: where it was saved
    :param obs: the states, see ``states``
    :param task: the environment's task if its optimum is known
    :param out: folder for the pictures; if None a folder beside the model, which is opened if there is a display
    :return: the pictures
    """
    path, figures = path.resolve(), policy_figures(saved, obs, task)
    try:
        figures[LEARNING_CURVE] = learning_curves({path.stem: [read_curve(path.parent)]})
    except ValueError:
        pass  # no such files
    folder = path.with_name(f"{path.stem}_pictures") if out is None else out
    pictures = [folder / f"{name}.png" for name in figures]
    for picture, figure in zip(pictures, figures.values(), strict=True):
        save_figure(figure, picture)
    page = "\n".join(f'<h3>{name}</h3><img src="{name}.png" alt="{name}">' for name in figures)
    with replacing(folder / PAGE) as file:
        file.write(f"<!doctype html>\n{page}\n".encode())
    if out is None and _has_display():
        webbrowser.open((folder / PAGE).resolve().as_uri())
    return pictures


def _sampled(policy: FlowPolicy) -> Any:
    """Observations drawn from the space."""
    space = _with_infinite_bounds(policy.observation_space)
    space.seed(0)
    return _stack([space.sample() for _ in range(N_OBSERVATIONS)])


def _with_infinite_bounds(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The same space where a bound that is the largest number there is counts as none: it draws normal numbers
    there."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict([(key, _with_infinite_bounds(inner)) for key, inner in space.spaces.items()])
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        return space
    low, high = (np.where(np.abs(bound) > LARGE, np.sign(bound) * np.inf, bound) for bound in (space.low, space.high))
    return spaces.Box(low.astype(space.dtype), high.astype(space.dtype), dtype=space.dtype.type)


def _visited(saved: FlowSAC | FlowPolicy, env: VecEnv) -> Any:
    """Observations from a rollout of the stochastic policy, evenly spaced."""
    policy = policy_of(saved)
    theirs, ours = (env.observation_space, env.action_space), (policy.observation_space, policy.action_space)
    if theirs != ours:
        raise ValueError(
            f"the environment's spaces are {theirs[0]} and {theirs[1]}, the model's {ours[0]} and {ours[1]}; "
            "has it been trained with other arguments of the environment?"
        )
    env.seed(0)
    torch.manual_seed(0)
    seen: list[Any] = [env.reset()]
    for _ in range(ROLLOUT_STEPS - 1):
        seen.append(env.step(saved.predict(seen[-1])[0])[0])
    chosen = [seen[i] for i in np.linspace(0, ROLLOUT_STEPS - 1, N_OBSERVATIONS).astype(int)]
    first = [{key: value[0] for key, value in each.items()} if isinstance(each, dict) else each[0] for each in chosen]
    return _stack(first)


def _stack(observations: list[Any]) -> Any:
    if isinstance(observations[0], dict):
        return {key: np.stack([each[key] for each in observations]) for key in observations[0]}
    return np.stack(observations)


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
