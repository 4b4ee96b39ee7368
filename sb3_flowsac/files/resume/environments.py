"""The state of vectorised environments, where they and their wrappers let it be read and set."""

import warnings
from collections import Counter
from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

from sb3_flowsac.files.resume.settings import layers

# Wrappers of single environments, and the attributes that hold their state
WRAPPERS: dict[str, tuple[str, ...]] = {
    "Monitor": ("rewards", "needs_reset", "total_steps", "episode_returns", "episode_lengths", "episode_times"),
    "TimeLimit": ("_elapsed_steps",),
    "PatchedTimeLimit": ("_elapsed_steps",),  # the RL Zoo's
    **dict.fromkeys(("OrderEnforcing", "PassiveEnvChecker", "ClipAction", "RescaleAction", "FlattenObservation"), ()),
    **dict.fromkeys(
        ("FilterObservation", "RescaleObservation", "DtypeObservation", "TransformReward", "ClipReward"), ()
    ),
}
# The same for wrappers of vectorised ones; VecNormalize's statistics are apart
VEC_WRAPPERS: dict[type[VecEnvWrapper], tuple[str, ...]] = {
    VecNormalize: ("returns",),
    VecMonitor: ("episode_returns", "episode_lengths", "episode_count"),
    VecTransposeImage: (),
    VecCheckNan: (),
}


def environment_state(env: VecEnv) -> dict[str, Any]:
    """
    All that the future of the environments depends on, or as much of it as they offer.

    An environment offers its state by methods ``get_state()`` and ``set_state(state)`` as those of ``LQREnv``; one that
    is made of numbers, strings, arrays and containers of them can be kept.

    :param env: the training environment
    :return: ``obstacles``, what keeps the episodes from going on exactly; the states of all environments if there are
        none, else only those of their random generators; and VecNormalize's statistics
    """
    obstacles = _obstacles(env)
    normalizers = [layer for layer in layers(env) if isinstance(layer, VecNormalize)]
    state: dict[str, Any] = {
        "obstacles": obstacles,
        "statistics": [{name: _statistics(getattr(v, name)) for name in _moments(v)} for v in normalizers],
    }
    if obstacles:
        state["generators"] = [generator.bit_generator.state for generator in env.get_attr("np_random")]
    else:
        state["states"] = env.env_method("get_state")
        state["wrappers"] = {name: env.get_attr(name) for name in _attributes(env)}
        state["layers"] = [
            {name: getattr(layer, name) for name in VEC_WRAPPERS[type(layer)]} for layer in _wrapping(env)
        ]
    return state


def restore_environment(env: VecEnv, state: dict[str, Any]) -> Any:
    """
    Put environments of the same kind, already reset, into the state that ``environment_state`` has found.

    If there are obstacles, a warning names them and the episodes start anew, from the random generators' states.

    :param env: the training environment
    :param state: what ``environment_state`` returned
    :return: ``None``, or the first observations of the new episodes
    """
    normalizers = [layer for layer in layers(env) if isinstance(layer, VecNormalize)]
    for normalizer, statistics in zip(normalizers, state["statistics"], strict=True):
        for name in _moments(normalizer):
            setattr(normalizer, name, _set_statistics(getattr(normalizer, name), statistics[name]))
    if state["obstacles"]:
        warnings.warn(
            f"the interrupted episodes cannot go on and start anew, because of {', '.join(state['obstacles'])}: "
            "the run goes on, but not as if it had never stopped",
            RuntimeWarning,
            stacklevel=3,
        )
        for index, generator_state in enumerate(state["generators"]):
            generator = np.random.Generator(getattr(np.random, generator_state["bit_generator"])())
            generator.bit_generator.state = generator_state
            env.env_method("set_wrapper_attr", "np_random", generator, indices=index)
        return env.reset()
    for index, single in enumerate(state["states"]):
        env.env_method("set_state", single, indices=index)
        for name, values in state["wrappers"].items():
            env.env_method("set_wrapper_attr", name, values[index], indices=index)
    for layer, attributes in zip(_wrapping(env), state["layers"], strict=True):
        vars(layer).update(attributes)
    return None


def _obstacles(env: VecEnv) -> list[str]:
    """Names of all whose state cannot be read: environments without ``get_state`` and unknown wrappers."""
    found = [type(layer).__name__ for layer in _wrapping(env) if type(layer) not in VEC_WRAPPERS]
    for text in dict.fromkeys(env.env_method("__str__")):
        *wrappers, name = _names(text)
        found += [wrapper for wrapper, count in Counter(wrappers).items() if wrapper not in WRAPPERS or count > 1]
        if not (env.has_attr("get_state") and env.has_attr("set_state")):
            found.append(f"{name} (without get_state and set_state)")
    return list(dict.fromkeys(found))


def _names(text: str) -> list[str]:
    """Class names of the wrappers and, last, of the environment, from Gymnasium's "<Wrapper<Env<id>>>" or "<Env
    instance>"."""
    *names, last = [name for name in text.rstrip(">").split("<") if name]
    return names if names and not last.endswith(" instance") else [*names, last.removesuffix(" instance")]


def _attributes(env: VecEnv) -> list[str]:
    names = {name for text in env.env_method("__str__") for name in _names(text)[:-1]}
    return [attribute for name in sorted(names) for attribute in WRAPPERS[name]]


def _wrapping(env: VecEnv) -> list[VecEnvWrapper]:
    return [layer for layer in layers(env) if isinstance(layer, VecEnvWrapper)]


def _moments(normalizer: VecNormalize) -> list[str]:
    """Names of the statistics that a normalizer has: those of the observations only if it normalises them."""
    return ["ret_rms", "obs_rms"] if normalizer.norm_obs else ["ret_rms"]


def _statistics(rms: Any) -> dict[str, Any]:
    return {key: _statistics(value) for key, value in rms.items()} if isinstance(rms, dict) else dict(vars(rms))


def _set_statistics(rms: Any, state: dict[str, Any]) -> Any:
    if isinstance(rms, dict):
        return {key: _set_statistics(value, state[key]) for key, value in rms.items()}
    restored = RunningMeanStd()
    restored.mean, restored.var, restored.count = np.asarray(state["mean"]), np.asarray(state["var"]), state["count"]
    return restored
