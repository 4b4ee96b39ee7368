"""What FlowSAC and FlowPolicy take, checked before anything is built.

A wrong argument is refused with its name, what was given and what is allowed. Numpy's numbers become Python's.
"""

import copy
import difflib
import inspect
import math
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import Schedule, TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.utils import get_device
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer
from torch import nn

from sb3_flowsac.algorithm.critics import CRITICS, Critic
from sb3_flowsac.checks import MAX_SIZE, abridged, boolean, choice, integer, naming, number
from sb3_flowsac.flow import make_flow

MAX_COUNT = 2**31 - 1  # of steps and transitions
MIN_RESOLVED = 1000  # numbers of single precision within an action's bounds
# Smallest and largest value of the attributes that are integers
INTEGERS = {
    **dict.fromkeys(("buffer_size", "batch_size", "n_steps", "target_update_interval"), (1, MAX_COUNT)),
    **dict.fromkeys(("policy_delay", "isfm_interval", "_stats_window_size", "actor_batch_size"), (1, MAX_COUNT)),
    "gradient_steps": (-1, MAX_COUNT),
    "n_next_actions": (1, MAX_SIZE),
    "n_proposals": (2, MAX_SIZE),  # a single one would have the weight 1 wherever it is
    "seed": (0, 2**32 - 1),
}
OPTIONAL = ("actor_batch_size", "seed")  # which may be None
# Arguments that SB3 fills in: of a replay buffer, and of a policy
OF_BUFFERS = {"buffer_size", "observation_space", "action_space", "device", "n_envs", "optimize_memory_usage"}
OF_LOAD = {"device", "custom_objects", "print_system_info", "force_reset"}  # and of SB3's load
OF_POLICIES = {"observation_space", "action_space", "lr_schedule"}
# SAC's arguments for gSDE, and the only values of them that mean something here
NO_SDE = {"use_sde": False, "sde_sample_freq": -1, "use_sde_at_warmup": False}


def check_settings(model: OffPolicyAlgorithm) -> None:
    """Check the settings that SB3's classes keep as attributes, also those that a saved file brought."""
    for name, limits in INTEGERS.items():
        value = getattr(model, name)
        if value is not None or name not in OPTIONAL:
            setattr(model, name, integer(name.lstrip("_"), value, *limits))
    model.tau, model.gamma = number("tau", model.tau, 0.0, 1.0), number("gamma", model.gamma, 0.0, 1.0)
    model.learning_rate = learning_rate(model.learning_rate)
    if not (isinstance(model.learning_starts, str) and model.learning_starts == "auto"):
        with naming('learning_starts must be "auto" or a number of steps'):
            model.learning_starts = integer("learning_starts", model.learning_starts, 0, MAX_COUNT)
    model.train_freq = train_freq(model.train_freq, model.n_envs)  # type: ignore[assignment]
    model.optimize_memory_usage = boolean("optimize_memory_usage", model.optimize_memory_usage)
    if model.action_noise is not None:
        check_action_noise(model.action_noise, model.action_space.shape)
    check_replay_buffer(model)


def usable_device(value: object) -> torch.device:
    """Check that PyTorch can use a device; "cuda" becomes "cpu" where there is none, as in SB3."""
    with naming(f'device={value!r} must be "auto" or a device that this PyTorch can use'):
        found = get_device(value)  # type: ignore[arg-type]
        torch.zeros(1, device=found).item()
    return found


def keywords(argument: str, value: object, known: Collection[str] | None = None, owner: str = "") -> dict[str, Any]:
    """
    Check keyword arguments, ``None`` for none, and name the nearest of those that are known.

    :param argument: name of the argument that holds them
    :param value: what was given
    :param known: names that ``owner`` takes; default any
    :param owner: who takes them
    :raises TypeError: if it is no dictionary with names as keys, or a key is unknown
    """
    kwargs = {} if value is None else value
    if not isinstance(kwargs, dict) or not all(isinstance(key, str) for key in kwargs):
        raise TypeError(f"{argument} must be None or a dictionary whose keys are names, got {abridged(value)}")
    for key in kwargs:
        if known is not None and key not in known:
            near = difflib.get_close_matches(key, names := sorted(known))
            hint = f"did you mean {' or '.join(near)}?" if near else f"it takes {', '.join(names)}"
            raise TypeError(f"{argument} has the key {key!r}, which {owner} does not take; {hint}")
    return kwargs


def parameter_names(owner: type) -> set[str]:
    """Names of what a constructor takes; one that passes ``*args`` or ``**kwargs`` on takes what its bases take."""
    names: set[str] = set()
    for constructor in (vars(base)["__init__"] for base in owner.__mro__ if "__init__" in vars(base)):
        parameters = inspect.signature(constructor).parameters
        names |= {name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if "flow_kwargs" in parameters:
            options = inspect.signature(make_flow).parameters.values()
            return names - {"self"} | {p.name for p in options if p.kind is p.KEYWORD_ONLY}
        if not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values()):
            break
    return names - {"self"}


def of_load(algorithm: type, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for SB3's ``load``, which takes any and sets attributes of their names."""
    keywords("load", kwargs, parameter_names(algorithm) | OF_LOAD, algorithm.__name__)
    refuse_sde(None, *(kwargs.get(name, default) for name, default in NO_SDE.items()))
    return {"_stats_window_size" if name == "stats_window_size" else name: value for name, value in kwargs.items()}


def refuse_sde(policy_kwargs: object, *sde: object) -> dict[str, Any]:
    """
    Refuse gSDE, noise on the weights of a Gaussian policy's last layer: SAC's arguments for it mean nothing to a flow.

    :param policy_kwargs: keyword arguments for the policy
    :param sde: values of the arguments in ``NO_SDE``
    :return: ``policy_kwargs`` without ``use_sde=False``, which SB3's SAC leaves in a dictionary that it was given
    """
    kwargs = keywords("policy_kwargs", policy_kwargs)
    kwargs = {name: value for name, value in kwargs.items() if name != "use_sde" or value is not False}
    defaults = zip(NO_SDE.items(), sde, strict=True)
    given = [name for (name, default), value in defaults if type(value) is not type(default) or value != default]
    given += [f"policy_kwargs[{name!r}]" for name in ("use_sde", "use_expln", "clip_mean") if name in kwargs]
    if given:
        raise ValueError(
            f"{', '.join(given)}: a flow policy has no generalized state-dependent exploration (gSDE). It explores by "
            "its own samples: leave this out, and pass action_noise to explore more"
        )
    return kwargs


def learning_rate(value: object) -> float | Schedule:
    """Check a finite number of at least 0 (the Zoo replays models with 0), or a schedule whose first value is one."""
    rule = f"learning_rate={abridged(value)} must be a number of at least 0 or a function of the remaining progress"
    with naming(rule):
        first = number("learning_rate", value(1.0) if callable(value) else value, 0.0)
    return value if callable(value) else first


def train_freq(value: object, n_envs: int) -> TrainFreq:
    """Check an integer of at least 1, alone or in a tuple with "step" or, for a single environment, "episode"."""
    frequency, unit = value if isinstance(value, tuple) and len(value) == 2 else (value, TrainFrequencyUnit.STEP)
    with naming(f'train_freq={abridged(value)} must be an integer, alone or in a tuple such as (2, "episode")'):
        result = TrainFreq(integer("train_freq", frequency, 1, MAX_COUNT), TrainFrequencyUnit(unit))
    if result.unit == TrainFrequencyUnit.EPISODE and n_envs > 1:
        raise ValueError(f'train_freq={value!r} needs a single environment, there are {n_envs}; count in "step"')
    return result


def target_entropy(value: object, action_dim: int, squashed: bool = True) -> float:
    """A finite number (of single precision), or "auto": minus the dimension of the action. Above the entropy of the
    uniform distribution on [-1, 1]^dim, the most that squashed actions have, alpha would grow without end."""
    if isinstance(value, str) and value == "auto":
        return -float(action_dim)
    limit = float(torch.finfo(torch.float32).max)
    with naming('target_entropy must be "auto" or a number'):
        return number("target_entropy", value, -limit, action_dim * math.log(2.0) if squashed else limit)


def check_action_noise(noise: object, shape: tuple[int, ...] | None) -> None:
    """Check that noise has the shape of an action, or is one number, which SB3 adds to every component alike."""
    if isinstance(noise, VectorizedActionNoise):
        noise = noise.base_noise
    if not isinstance(noise, ActionNoise):
        raise TypeError(f"action_noise must be None or an ActionNoise, got {abridged(noise)}")
    generator = np.random.get_state()
    with naming(f"action_noise={abridged(noise)} cannot be drawn"):
        found = np.shape(copy.deepcopy(noise)())
    np.random.set_state(generator)
    if found not in (shape, (1,)):
        raise ValueError(f"action_noise={abridged(noise)} gives noise of shape {found}; an action has shape {shape}")


def check_replay_buffer(model: OffPolicyAlgorithm) -> None:
    """Check the class of the replay buffer and its arguments."""
    kind, per_env = model.replay_buffer_class, max(1, model.buffer_size // model.n_envs)
    if kind is None:
        kind = NStepReplayBuffer if model.n_steps > 1 else ReplayBuffer
    check_subclass("replay_buffer_class", kind, ReplayBuffer)
    known = parameter_names(kind) - OF_BUFFERS - ({"env"} if issubclass(kind, HerReplayBuffer) else set())
    keywords("replay_buffer_kwargs", model.replay_buffer_kwargs, known, kind.__name__)
    if model.n_steps > per_env:
        size = f"buffer_size={model.buffer_size} holds, {per_env}"
        raise ValueError(f"n_steps={model.n_steps} must be at most the transitions of an environment that {size}")
    if kind is NStepReplayBuffer and model.optimize_memory_usage:  # SB3 would say it when learning starts
        raise ValueError(f"n_steps={model.n_steps} must be 1 with optimize_memory_usage=True")


def check_action_space(space: object) -> None:
    """Check a Box of floats, since integers would be stored rounded, whose width single precision resolves."""
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        raise ValueError(f"action_space must be a Box of floating-point numbers, got {abridged(space)}")
    if not space.low.size:
        raise ValueError(f"action_space must have at least one component, got {abridged(space)}")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all() and (space.low < space.high).all()):
        raise ValueError(f"action_space must have finite bounds, the lower below the upper, got {abridged(space)}")
    precision = np.float16 if space.dtype == np.float16 else np.float32
    with np.errstate(over="ignore"):
        width = space.high.astype(precision) - space.low.astype(precision)
    if not np.isfinite(width).all():
        limit = f"{np.finfo(precision).max:g} ({precision.__name__})"
        raise ValueError(
            f"action_space must have a width, upper bound minus lower, up to {limit}, got {abridged(space)}"
        )
    resolution = np.finfo(np.float32).eps * np.maximum(np.abs(space.low), np.abs(space.high))
    if (width < MIN_RESOLVED * resolution).any():
        raise ValueError(
            f"action_space must be {MIN_RESOLVED} numbers of single precision wide, got {abridged(space)}: actions "
            "could not be told apart; wrap the environment in gymnasium.wrappers.RescaleAction"
        )


def architectures(value: object) -> tuple[list[int], list[int]]:
    """Sizes of the actor's and the critics' hidden layers from ``net_arch``, a list or ``dict(pi=[...], qf=[...])``."""
    if isinstance(value, dict):
        if set(value) != {"pi", "qf"}:
            raise ValueError(f'net_arch must have the keys "pi" and "qf", got {abridged(value)}')
        return layer_sizes('net_arch["pi"]', value["pi"]), layer_sizes('net_arch["qf"]', value["qf"])
    sizes = layer_sizes("net_arch", value)
    return sizes, sizes


def layer_sizes(name: str, value: object) -> list[int]:
    """Check sizes of hidden layers."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} must be a list of the sizes of the hidden layers, got {abridged(value)}")
    return [integer(f"{name}[{i}]", size, 1, MAX_SIZE) for i, size in enumerate(value)]


def check_activation(value: object) -> None:
    """Check that calling the activation function's class gives a module that keeps the shape of what it gets."""
    probe = torch.zeros(2, 3, 4)
    with naming(f"activation_fn={abridged(value)} must be a module class without arguments", TypeError):
        module = value() if callable(value) else None
        fits = isinstance(module, nn.Module) and module(probe).shape == probe.shape
    if not fits:
        raise TypeError(f"activation_fn must be a class of elementwise modules such as nn.ReLU, got {abridged(value)}")


def check_subclass(name: str, value: object, base: type, names: Collection[str] = ()) -> None:
    """Check a class; ``names`` are what else is allowed, for the message."""
    if not (isinstance(value, type) and issubclass(value, base)):
        alternatives = f"one of {', '.join(names)} or " if names else ""
        raise TypeError(f"{name} must be {alternatives}a subclass of {base.__name__}, got {abridged(value)}")


def critic_class(critic: object, critic_kwargs: object) -> type[Critic]:
    """
    The class of the critics, their keyword arguments checked.

    :param critic: a key of ``CRITICS`` or a subclass of ``Critic``
    :param critic_kwargs: keyword arguments beside those that every critic takes
    """
    found: Any = CRITICS[choice("critic", critic, CRITICS)] if isinstance(critic, str) else critic
    check_subclass("critic", found, Critic, CRITICS)
    keywords("critic_kwargs", critic_kwargs, parameter_names(found) - parameter_names(Critic), found.__name__)
    return found  # type: ignore[no-any-return]


def check_critic_shapes(critic: Critic) -> None:
    """Check the shapes of a critic's values in two states with three actions each."""
    n_states, n_actions = 2, 3
    features = torch.zeros(n_states, critic.features_dim, device=critic.device)
    actions = torch.zeros(n_states, n_actions, critic.action_dim, device=critic.device)
    expected = {"q_values": (critic.n_critics, n_states, n_actions), "value": (n_states, n_actions)}
    for method, shape in expected.items():
        with torch.no_grad():
            found = tuple(getattr(critic, method)(features, actions).shape)
        if found != shape:
            raise ValueError(
                f"critic must be a class whose {method} gives shape {shape} for n_critics={critic.n_critics}, "
                f"{n_states} states and {n_actions} actions, got {found} from {type(critic).__name__}"
            )


def check_optimizer(optimizer_class: object, kwargs: object) -> None:
    """Check that an optimizer can be made and takes steps without a closure, on one small parameter."""
    check_subclass("optimizer_class", optimizer_class, torch.optim.Optimizer)
    kwargs = keywords("optimizer_kwargs", kwargs)
    if "lr" in kwargs:
        raise ValueError("optimizer_kwargs must not have the key 'lr'; the rate is FlowSAC's learning_rate")
    rule = f"optimizer_class={optimizer_class} with optimizer_kwargs={abridged(kwargs)} cannot take a step"
    with naming(rule), torch.device("cpu"):  # load_policy first makes policies without numbers, which no step can read
        parameter = nn.Parameter(torch.zeros(1, 1))
        parameter.grad = torch.ones(1, 1)
        optimizer_class([parameter], lr=1e-3, **kwargs).step()  # type: ignore[operator]


def check_extractor_fits(
    space: spaces.Space[Any], extractor: type[BaseFeaturesExtractor], normalize_images: bool
) -> None:
    """Check one of SB3's own extractors, each of which fits one kind of observation space; the error names the policy
    that fits."""
    is_dict, is_image = isinstance(space, spaces.Dict), is_image_space(space)
    parts = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
    without_axis = any(isinstance(part, spaces.Box) and not part.shape for part in parts)
    if without_axis and extractor in (FlattenExtractor, CombinedExtractor):
        raise ValueError(
            f"observation_space must have an axis for its numbers, got {space}; wrap the environment in "
            "gymnasium.wrappers.ReshapeObservation with shape (1,)"
        )
    fits = {
        FlattenExtractor: not is_dict,
        CombinedExtractor: is_dict,
        NatureCNN: is_image_space(space, check_channels=False, normalized_image=not normalize_images),
    }
    if not fits.get(extractor, True):
        better = "MultiInputPolicy" if is_dict else "CnnPolicy" if is_image else "FlowPolicy"
        of_floats = extractor is NatureCNN and is_image_space(space, check_channels=False, normalized_image=True)
        raise ValueError(
            f'this policy\'s {extractor.__name__} does not fit the observation space {space}; use "{better}"'
            + (", or normalize_images=False for images that are not bytes" if of_floats else "")
        )
