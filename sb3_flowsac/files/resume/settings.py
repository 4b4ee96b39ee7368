"""What makes a run what it is: the settings in which a checkpoint and the run that resumes it must agree."""

import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

from sb3_flowsac.version import __version__

# Arguments of an algorithm that do not change what is learnt, or that are described otherwise
NOT_COMPARED = {"self", "policy", "env", "tensorboard_log", "verbose", "device", "_init_setup_model"}
NORMALIZE_SETTINGS = (
    "norm_obs",
    "norm_reward",
    "norm_obs_keys",
    "clip_obs",
    "clip_reward",
    "gamma",
    "epsilon",
    "training",
)


def run_settings(model: OffPolicyAlgorithm, env: VecEnv) -> dict[str, dict[str, str]]:
    """
    Describe a run: algorithm, policy, arguments, environments and, apart, the versions of the libraries.

    :param model: the model, its training set up
    :param env: its environment
    :return: names and descriptions, under ``run`` and ``versions``
    """
    names = dict.fromkeys(name for cls in type(model).__mro__ for name in inspect.signature(cls).parameters)
    settings = {
        "algorithm": describe(type(model)),
        "policy": describe(model.policy_class),
        **{name: describe(getattr(model, name)) for name in names if name not in NOT_COMPARED and hasattr(model, name)},
        "stats_window_size": describe(model._stats_window_size),
        "learning_rate": _describe_learning_rate(model.learning_rate),
        # With a constant learning rate nothing depends on the length of the run: it may be extended
        "total_timesteps": describe(model._total_timesteps if callable(model.learning_rate) else "any"),
        "observation_space": repr(env.observation_space),
        "action_space": repr(env.action_space),
        "vec_env": describe([_describe_layer(layer) for layer in layers(env)]),
        "environments": describe(_describe_environments(env)),
    }
    versions = {module.__name__: str(module.__version__) for module in (torch, np, gymnasium, stable_baselines3)}
    return {"run": settings, "versions": {**versions, "sb3_flowsac": __version__}}


def check_same_run(path: Path, kept: dict[str, dict[str, str]], given: dict[str, dict[str, str]]) -> None:
    """
    Refuse a checkpoint of another run; warn if other versions of the libraries wrote it.

    :param path: the checkpoint, for the message
    :param kept: settings in the checkpoint, see ``run_settings``
    :param given: settings of the run that resumes it
    :raises ValueError: if they differ; names what does
    """
    if differences := list(_differences(kept["run"], given["run"])):
        raise ValueError(
            f"{path} is a checkpoint of another run: {'; '.join(differences)}. "
            "Resume it with its own settings, or give a new run a folder of its own"
        )
    if differences := list(_differences(kept["versions"], given["versions"])):
        warnings.warn(
            f"{path} was written by other versions ({'; '.join(differences)}): the run goes on, but perhaps not "
            f"bit for bit "
            "as it would have",
            RuntimeWarning,
            stacklevel=3,
        )


def layers(env: VecEnv) -> Iterator[VecEnv]:
    """A vectorised environment and all that it wraps, the outermost first."""
    yield env
    while isinstance(env, VecEnvWrapper):
        env = env.venv
        yield env


def describe(value: Any) -> str:
    """
    A text that is equal for equal settings, also in another process.

    :param value: an argument
    :return: its description, with no address in it
    """
    if isinstance(value, np.ndarray | np.generic):
        return describe(value.tolist())
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {describe(item)}" for key, item in sorted(value.items(), key=str)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(describe(item) for item in value) + "]"
    if inspect.isclass(value) or inspect.isroutine(value):
        return f"{value.__module__}.{value.__qualname__}"
    text = repr(value)
    if " object at 0x" in text and hasattr(value, "__dict__"):  # Python's own text, which names no attribute
        return describe(type(value)) + describe(vars(value))
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _describe_learning_rate(rate: float | Schedule) -> str:
    """A schedule also by some of its values: what a function has from around it is not in its name."""
    if not callable(rate):
        return describe(rate)
    return f"{describe(rate)} with the values {[float(rate(progress)) for progress in (1.0, 0.75, 0.5, 0.25, 0.0)]}"


def _describe_layer(layer: VecEnv) -> str:
    settings = {name: getattr(layer, name) for name in NORMALIZE_SETTINGS} if isinstance(layer, VecNormalize) else {}
    # How the environments are run (in this process or others) makes no difference
    return (
        type(layer).__name__ + describe(settings)
        if isinstance(layer, VecEnvWrapper)
        else f"{layer.num_envs} environments"
    )


def _describe_environments(env: VecEnv) -> list[Any]:
    """Each different environment once, in the order in which they come: its wrappers, and how Gymnasium made it."""
    found = {}
    for text, spec in zip(env.env_method("__str__"), env.get_attr("spec"), strict=True):
        made = (
            []
            if spec is None
            else [spec.max_episode_steps, {k: v for k, v in spec.kwargs.items() if k != "render_mode"}]
        )
        text = text.replace(
            "PatchedTimeLimit", "TimeLimit"
        )  # the RL Zoo's, which adds an info, wherever it is imported
        found[describe([text, made])] = [text, made]
    return list(found.values())


def _differences(kept: dict[str, str], given: dict[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*kept, *given]):
        if kept.get(name) != given.get(name):
            yield f"{name} was {kept.get(name)}, now {given.get(name)}"
