"""The state of a model in training, of its replay buffer and of the random generators that training draws from."""

import random
from enum import Enum
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_flowsac.algorithm import FlowSAC

COUNTERS = ("num_timesteps", "_episode_num", "_n_updates", "_current_progress_remaining", "_ess_share")
LAST_STEP = ("_last_obs", "_last_original_obs", "_last_episode_starts")
EPISODES = ("ep_info_buffer", "ep_success_buffer")
# Of what a replay buffer consists beside its arrays: its settings
FIXED = (spaces.Space, torch.device, VecEnv, Enum, str, tuple, type(None))


def model_state(model: FlowSAC) -> dict[str, Any]:
    """
    Networks, optimisers, counters, the latest step, action noise and what waits to be logged.

    :param model: a model between two rollouts
    :return: its state, see ``restore_model``
    """
    log = model.logger
    scalars = {
        key: value for key, value in log.name_to_value.items() if isinstance(value, int | float | str | np.number)
    }
    return {
        "parameters": model.get_parameters(),
        "variables": {name: getattr(model, name) for name in model._get_torch_save_params()[1]},
        "attributes": {name: getattr(model, name) for name in COUNTERS + LAST_STEP},
        "episodes": {name: list(getattr(model, name)) for name in EPISODES},
        "noise": [_numbers(noise) for noise in _noises(model.action_noise)],
        "log": [[key, value, log.name_to_count[key], log.name_to_excluded[key]] for key, value in scalars.items()],
    }


def restore_model(model: FlowSAC, state: dict[str, Any]) -> None:
    """
    Put a model of the same settings, its training set up, into the state that ``model_state`` has found.

    :param model: the model
    :param state: what ``model_state`` returned
    """
    model.set_parameters(state["parameters"], exact_match=True, device=model.device)
    for name, value in state["variables"].items():
        getattr(model, name).data.copy_(value)
    vars(model).update(state["attributes"])
    model._num_timesteps_at_start = model.num_timesteps  # frames per second are those of this process
    for name, values in state["episodes"].items():
        getattr(model, name).extend(values)
    for noise, numbers in zip(_noises(model.action_noise), state["noise"], strict=True):
        vars(noise).update(numbers)
    for key, value, count, excluded in state["log"]:
        model.logger.name_to_value[key] = value
        model.logger.name_to_count[key] = count
        model.logger.name_to_excluded[key] = excluded


def buffer_state(buffer: ReplayBuffer) -> dict[str, Any]:
    """
    The transitions of a replay buffer, its filled rows alone, and its counters.

    :param buffer: the buffer
    :return: its state, see ``restore_buffer``
    :raises TypeError: if the buffer has an attribute that is neither a number, an array nor a setting, or copies infos
    """
    # The row that comes next holds the latest observation if the buffer optimises memory
    rows = buffer.buffer_size if buffer.full else min(buffer.pos + 1, buffer.buffer_size)
    return {name: _filled(value, rows, buffer.buffer_size) for name, value in _contents(buffer).items()}


def restore_buffer(buffer: ReplayBuffer, state: dict[str, Any], episodes_restart: bool) -> None:
    """
    Fill a buffer of the same settings.

    :param buffer: the buffer
    :param state: what ``buffer_state`` returned
    :param episodes_restart: whether the transitions to come are of new episodes, so that the latest ones must end
    """
    for name, value in state.items():
        if isinstance(value, dict):
            for key, rows in value.items():
                getattr(buffer, name)[key][: len(rows)] = rows
        elif isinstance(value, np.ndarray):
            getattr(buffer, name)[: len(value)] = value
        else:
            setattr(buffer, name, value)
    if episodes_restart and buffer.size() > 0:
        if isinstance(buffer, HerReplayBuffer):
            buffer.truncate_last_trajectory()
        elif buffer.handle_timeout_termination:
            buffer.timeouts[buffer.pos - 1] = buffer.dones[buffer.pos - 1] = True
        else:
            buffer.dones[buffer.pos - 1] = True


def random_state(model: FlowSAC) -> dict[str, Any]:
    """
    State of the random generators of Python, NumPy, PyTorch and of the model's action space.

    :param model: the model
    :return: the states, see ``restore_random``
    """
    version, numbers, gauss = random.getstate()
    return {
        "python": (version, np.array(numbers), gauss),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(model.device) if model.device.type == "cuda" else None,
        "action_space": model.action_space.np_random.bit_generator.state,  # uniform actions before learning starts
    }


def restore_random(model: FlowSAC, state: dict[str, Any]) -> None:
    """
    Put the random generators into the states that ``random_state`` has found.

    :param model: the model
    :param state: what ``random_state`` returned
    """
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and model.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], model.device)
    model.action_space.np_random.bit_generator.state = state["action_space"]


def _noises(noise: ActionNoise | None) -> list[ActionNoise]:
    if noise is None:
        return []
    return list(noise.noises) if isinstance(noise, VectorizedActionNoise) else [noise]


def _numbers(noise: ActionNoise) -> dict[str, Any]:
    return {name: value for name, value in vars(noise).items() if isinstance(value, bool | int | float | np.ndarray)}


def _contents(buffer: ReplayBuffer) -> dict[str, Any]:
    """The attributes of a buffer that change as it fills."""
    contents = {}
    for name, value in vars(buffer).items():
        parts = value.values() if isinstance(value, dict) else [value]
        if all(isinstance(part, FIXED) for part in parts):
            continue
        if not all(isinstance(part, bool | int | float | np.number | np.ndarray) for part in parts):
            raise TypeError(
                f"the replay buffer's {name} is a {type(value).__name__}: only arrays and numbers can be kept"
            )
        contents[name] = value
    if isinstance(buffer, HerReplayBuffer):
        if buffer.copy_info_dict:
            raise TypeError("the infos of a HerReplayBuffer with copy_info_dict=True are objects: they cannot be kept")
        del contents["infos"]
    return contents


def _filled(value: Any, rows: int, buffer_size: int) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, rows, buffer_size) for key, item in value.items()}
    is_ring = isinstance(value, np.ndarray) and value.ndim > 1 and len(value) == buffer_size
    return value[:rows] if is_ring else value
