"""
All that the future of a run depends on, taken from its model and put back into a model of the same settings.

SB3 writes a model, its replay buffer and ``VecNormalize`` to three files, without the environments' states and the
random generators; what it restores is another run with the same networks.
"""

import random
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_flowsac.algorithm import FlowSAC

State = dict[str, Any]
MODEL_ATTRIBUTES = (
    *("num_timesteps", "_episode_num", "_n_updates", "_current_progress_remaining"),
    *("_last_obs", "_last_original_obs", "_last_episode_starts", "ep_info_buffer", "ep_success_buffer"),
    *("action_noise", "action_space"),  # the space draws the actions before learning starts
)
LOG = ("name_to_value", "name_to_count", "name_to_excluded")
# Wrappers of single environments whose state is none, or in these attributes
WRAPPERS = {
    *("Monitor", "TimeLimit", "PatchedTimeLimit", "OrderEnforcing", "PassiveEnvChecker", "ClipAction", "RescaleAction"),
    *("FlattenObservation", "FilterObservation", "RescaleObservation", "DtypeObservation", "TransformReward"),
    "ClipReward",
}
WRAPPER_ATTRIBUTES = (
    *("rewards", "needs_reset", "total_steps", "episode_returns", "episode_lengths", "episode_times"),  # of Monitor
    "_elapsed_steps",  # of TimeLimit, and of PatchedTimeLimit, which is the RL Zoo's
)
# The same for wrappers of vectorised ones
VEC_WRAPPERS: dict[type[VecEnv], tuple[str, ...]] = {
    VecNormalize: ("obs_rms", "ret_rms", "returns"),
    VecMonitor: ("episode_returns", "episode_lengths", "episode_count"),
    VecTransposeImage: (),
    VecCheckNan: (),
}


def run_state(model: FlowSAC, env: VecEnv) -> State:
    """
    The state of a run between two rollouts: networks, optimisers, counters, the replay buffer, environments, what waits
    to be logged, and the random generators of Python, NumPy, PyTorch.

    Environments offer their state by methods ``get_state()`` and ``set_state(state)`` as those of ``LQREnv``. Where one
    does not, or is in a wrapper that is not known, only the random generators of the environments are kept.

    :param model: a model, its training set up
    :param env: its environment
    :return: what :func:`restore_run` takes
    """
    logged = model.logger.name_to_value.items()
    scalars = [key for key, value in logged if isinstance(value, int | float | str | np.number)]  # no figures
    cuda = torch.cuda.get_rng_state(model.device) if model.device.type == "cuda" else None
    return {
        "parameters": model.get_parameters(),
        "attributes": {name: getattr(model, name) for name in MODEL_ATTRIBUTES},
        "log": {name: {key: getattr(model.logger, name)[key] for key in scalars} for name in LOG},
        "replay buffer": _filled_rows(model.replay_buffer),
        "environments": _environment_state(env),
        "random generators": (random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda),
    }


def restore_run(model: FlowSAC, env: VecEnv, state: State) -> None:
    """
    Put a model of the same settings, its training set up, into the state that :func:`run_state` has found.

    If the environments' states are not in it a warning says why, and the interrupted episodes start anew.

    :param model: the model
    :param env: its environment
    :param state: what :func:`run_state` returned
    """
    model.set_parameters(state["parameters"], exact_match=True, device=model.device)
    vars(model).update(state["attributes"])
    model._num_timesteps_at_start = model.num_timesteps  # frames per second are those of this process
    for name, values in state["log"].items():
        getattr(model.logger, name).update(values)
    _fill_rows(vars(model.replay_buffer), state["replay buffer"])
    first_observations = _restore_environment(env, state["environments"])
    if first_observations is not None:
        model._last_obs = first_observations
        normalizer = model.get_vec_normalize_env()
        model._last_original_obs = None if normalizer is None else normalizer.get_original_obs()
        _end_episodes(model.replay_buffer)
    # Last: nothing draws from the generators before training does
    python, numpy, cpu, cuda = state["random generators"]
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda is not None and model.device.type == "cuda":
        torch.cuda.set_rng_state(cuda, model.device)


def layers(env: VecEnv) -> Iterator[VecEnv]:
    """A vectorised environment and all that it wraps, the outermost first."""
    yield env
    while isinstance(env, VecEnvWrapper):
        env = env.venv
        yield env


def _filled_rows(buffer: ReplayBuffer) -> State:
    """The attributes of a replay buffer; of its arrays the rows that are filled."""
    # The row that comes next holds the latest observation if the buffer optimises memory
    n_rows = buffer.buffer_size if buffer.full else min(buffer.pos + 1, buffer.buffer_size)

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        is_ring = isinstance(value, np.ndarray) and value.ndim > 1 and len(value) == buffer.buffer_size
        return value[:n_rows] if is_ring else value

    return {name: filled(value) for name, value in vars(buffer).items() if not isinstance(value, VecEnv)}


def _fill_rows(into: State, state: State) -> None:
    for name, value in state.items():
        if isinstance(value, dict):
            _fill_rows(into[name], value)
        elif isinstance(value, np.ndarray):
            into[name][: len(value)] = value
        else:
            into[name] = value


def _end_episodes(buffer: ReplayBuffer) -> None:
    """End the latest episodes of a buffer, as if by a time limit: the transitions to come are of new ones."""
    if isinstance(buffer, HerReplayBuffer):
        buffer.truncate_last_trajectory()
    elif buffer.size():
        last = buffer.pos - 1
        if buffer.handle_timeout_termination:  # an episode that has ended by itself stays so
            buffer.timeouts[last] = np.where(buffer.dones[last], buffer.timeouts[last], True)
        buffer.dones[last] = True


def _environment_state(env: VecEnv) -> State:
    obstacles = _obstacles(env)
    state: State = {"obstacles": obstacles, "layers": [_attributes(layer) for layer in layers(env)]}
    if obstacles:
        return {**state, "generators": env.get_attr("np_random")}
    wrappers = {name: env.get_attr(name) for name in WRAPPER_ATTRIBUTES if env.has_attr(name)}
    return {**state, "states": env.env_method("get_state"), "wrappers": wrappers}


def _restore_environment(env: VecEnv, state: State) -> Any:
    """Restore environments that have been reset; the first observations if the episodes start anew."""
    for layer, attributes in zip(layers(env), state["layers"], strict=True):
        vars(layer).update(attributes)
    if state["obstacles"]:
        warnings.warn(
            f"the interrupted episodes cannot go on and start anew, because of {', '.join(state['obstacles'])}: "
            "the run goes on, but not as if it had never stopped",
            RuntimeWarning,
            stacklevel=3,
        )
        for index, generator in enumerate(state["generators"]):
            env.env_method("set_wrapper_attr", "np_random", generator, indices=index)
        return env.reset()
    for index, single in enumerate(state["states"]):
        env.env_method("set_state", single, indices=index)
        for name, values in state["wrappers"].items():
            env.env_method("set_wrapper_attr", name, values[index], indices=index)
    return None


def _attributes(layer: VecEnv) -> State:
    names = VEC_WRAPPERS.get(type(layer), ())
    return {name: vars(layer)[name] for name in names if name in vars(layer)}  # obs_rms only if norm_obs


def _obstacles(env: VecEnv) -> list[str]:
    """Names of all whose state cannot be read: environments without ``get_state`` and unknown wrappers."""
    vec_wrappers = [type(layer) for layer in layers(env) if isinstance(layer, VecEnvWrapper)]
    found = [wrapper.__name__ for wrapper in vec_wrappers if wrapper not in VEC_WRAPPERS]
    for text in dict.fromkeys(env.env_method("__str__")):
        # "<Wrapper<Env<id>>>" or "<Wrapper<Env instance>>", unless the environment has a text of its own
        *wrappers, name = re.findall(r"([^<>]+)(?:<| instance>)", text) or [text]
        found += [wrapper for wrapper, count in Counter(wrappers).items() if wrapper not in WRAPPERS or count > 1]
        if not (env.has_attr("get_state") and env.has_attr("set_state")):
            found.append(f"{name} (without get_state and set_state)")
    return list(dict.fromkeys(found))
