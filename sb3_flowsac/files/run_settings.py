"""What makes a run what it is: for trackers of experiments, and to tell whether a checkpoint is of the same run."""

import inspect
import json
import re
import warnings
from enum import Enum
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import ConstantSchedule
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, unwrap_vec_normalize

from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.files.run_state import layers
from sb3_flowsac.version import __version__

# Arguments that say where a run is and what it prints, not how it learns
LEFT_OUT = {"self", "policy", "env", "policy_kwargs", "tensorboard_log", "verbose", "device", "_init_setup_model"}
NORMALIZATION = ("norm_obs", "norm_reward", "norm_obs_keys", "clip_obs", "clip_reward", "gamma", "epsilon")
LIBRARIES = (torch, np, gymnasium, stable_baselines3)
Plain = bool | int | float | str | None


def hyperparameters(model: BaseAlgorithm) -> dict[str, Plain]:
    """
    The arguments of a model's constructor, as it has them now, and those of its policy as ``policy_kwargs.NAME``.

    :param model: a model of Stable-Baselines3
    :return: values by name, "algorithm" and "policy" first; what is no number, text or truth value as a text that is
        equal in another process
    """
    found: dict[str, Any] = {"algorithm": type(model).__name__, "policy": model.policy_class.__name__}
    for name in dict.fromkeys(name for cls in type(model).__mro__ for name in inspect.signature(cls).parameters):
        attribute = name if hasattr(model, name) else f"_{name}"  # SB3 keeps stats_window_size under that
        if name not in LEFT_OUT and hasattr(model, attribute):
            found[name] = getattr(model, attribute)
    found |= {f"policy_kwargs.{name}": value for name, value in (model.policy_kwargs or {}).items()}
    return {key: value if isinstance(value, Plain) else _describe(value) for key, value in found.items()}


def run_settings(model: FlowSAC, env: VecEnv) -> dict[str, dict[str, Plain]]:
    """
    Describe a run: its hyperparameters, environments and, apart, the versions of the libraries.

    :param model: the model, its training set up
    :param env: its environment
    :return: values by name, under ``run`` and ``versions``
    """
    rate, normalizer = model.learning_rate, unwrap_vec_normalize(env)
    changes = callable(rate) and not isinstance(rate, ConstantSchedule)  # which the Zoo makes of a number
    settings: dict[str, Any] = {
        # With a constant learning rate nothing depends on the length of the run: it may be extended
        "total_timesteps": model._total_timesteps if changes else None,
        "observation_space": env.observation_space,
        "action_space": env.action_space,
        # How the environments are run (in this process or others) makes no difference
        "n_envs": env.num_envs,
        "vec_wrappers": [type(layer) for layer in layers(env) if isinstance(layer, VecEnvWrapper)],
        "n_acting_candidates": model.policy.n_acting_candidates,  # may be set after the policy is made
        "VecNormalize": normalizer and {name: getattr(normalizer, name) for name in NORMALIZATION},
        "environments": _environments(env),
    }
    if callable(rate):  # what a function has from around it is not in its name
        settings["learning_rate"] = [rate, [float(rate(left / 4)) for left in range(5)]]
    versions: dict[str, Plain] = {library.__name__: str(library.__version__) for library in LIBRARIES}
    run = {**hyperparameters(model), **{name: _describe(value) for name, value in settings.items()}}
    return {"run": run, "versions": {**versions, "sb3_flowsac": __version__}}


def check_same_run(path: Path, kept: dict[str, dict[str, Plain]], given: dict[str, dict[str, Plain]]) -> None:
    """
    Refuse a checkpoint of another run; warn if other versions of the libraries wrote it.

    :param path: the checkpoint, for the message
    :param kept: settings in the checkpoint, see :func:`run_settings`
    :param given: settings of the run that resumes it
    :raises ValueError: if they differ; names what does
    """
    if differences := _differences(kept["run"], given["run"]):
        raise ValueError(
            f"{path} is a checkpoint of another run: {differences}. Resume it with its own settings, or give a new run "
            "a folder of its own"
        )
    if differences := _differences(kept["versions"], given["versions"]):
        warnings.warn(
            f"{path} was written by other versions ({differences}): the run goes on, but perhaps not bit for bit as it "
            "would have",
            RuntimeWarning,
            stacklevel=3,
        )


def _describe(value: Any) -> str:
    """A text that is equal for equal settings, also in another process: there is no address in it."""

    def plain(item: Any) -> Any:
        if isinstance(item, np.ndarray | np.generic):
            return item.tolist()
        if isinstance(item, Enum):
            return item.value
        if inspect.isclass(item) or inspect.isroutine(item):
            return f"{item.__module__}.{item.__qualname__}"
        text = repr(item)
        if " object at 0x" in text and hasattr(item, "__dict__"):  # Python's own text, which names no attribute
            return {plain(type(item)): vars(item)}
        return re.sub(r" at 0x[0-9a-f]+", "", text)

    return json.dumps(value, default=plain, sort_keys=True)


def _environments(env: VecEnv) -> list[Any]:
    """Each different environment once, in the order in which they come: its wrappers, and how Gymnasium made it."""
    found = {}
    for text, spec in zip(env.env_method("__str__"), env.get_attr("spec"), strict=True):
        kwargs = {} if spec is None else {key: value for key, value in spec.kwargs.items() if key != "render_mode"}
        # The RL Zoo's TimeLimit, which adds an info, takes Gymnasium's place wherever the Zoo is imported
        environment = [text.replace("PatchedTimeLimit", "TimeLimit"), spec and spec.max_episode_steps, kwargs]
        found[_describe(environment)] = environment
    return list(found.values())


def _differences(kept: dict[str, Plain], given: dict[str, Plain]) -> str:
    different = [name for name in dict.fromkeys([*kept, *given]) if kept.get(name) != given.get(name)]
    return "; ".join(f"{name} was {kept.get(name)}, now {given.get(name)}" for name in different)
