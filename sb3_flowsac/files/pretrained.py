"""Policies in files that hold numbers and names alone: weights in safetensors, all else in JSON, and no pickle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from stable_baselines3.common import torch_layers
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn, optim

from sb3_flowsac.algorithm import activations
from sb3_flowsac.files.model_card import Results, model_card
from sb3_flowsac.files.spaces import space_from_json, space_to_json
from sb3_flowsac.files.writing import replacing

if TYPE_CHECKING:
    from sb3_flowsac.algorithm.policies import FlowPolicy

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
FORMAT = {"format": "sb3-flowsac policy", "version": 1}
MODULE = "sb3_flowsac.algorithm.policies"  # of the classes that FlowPolicy.from_pretrained finds by their names
SPACES = ("observation_space", "action_space")
# The only modules that a name in a file may lead to, and what it must be there
MODULES: dict[str, tuple[Any, type[Any]]] = {
    "torch.nn": (nn, nn.Module),
    "sb3_flowsac.algorithm.activations": (activations, nn.Module),
    "torch.optim": (optim, optim.Optimizer),
    "stable_baselines3.common.torch_layers": (torch_layers, BaseFeaturesExtractor),
}


def write_policy(policy: "FlowPolicy", folder: Path, results: Results | None) -> None:
    """
    Write ``config.json``, ``model.safetensors`` and ``README.md``; see ``FlowPolicy.save_pretrained``.

    :param policy: the policy
    :param folder: where to; made if needed
    :param results: for the model card
    """
    arguments = policy._get_constructor_parameters()
    del arguments["lr_schedule"]
    config = {
        **FORMAT,
        "policy": type(policy).__name__,
        **{name: space_to_json(arguments.pop(name)) for name in SPACES},
        "policy_kwargs": {name: _to_json(value, name) for name, value in arguments.items()},
    }
    text = json.dumps(config, indent=2, allow_nan=False) + "\n"
    # Copies: a shared features extractor's weights are in twice, and tensors in one file must not share memory
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in policy.state_dict().items()}
    card = model_card(policy, results)
    for name, content in ((WEIGHTS, save(weights)), (CONFIG, text.encode()), (CARD, card.encode())):
        with replacing(folder / name) as file:
            file.write(content)


def read_config(folder: Path) -> dict[str, Any]:
    """
    Read ``config.json``.

    :param folder: where it is
    :return: its content, with the two spaces made
    :raises ValueError: if it is none of ours, damaged or of an unknown version
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT["format"]:
        raise ValueError(f'{path} is no policy of sb3-flowsac: its "format" is not {FORMAT["format"]!r}')
    if config.get("version") != FORMAT["version"]:
        raise ValueError(
            f"{path} has version {config.get('version')!r}; this sb3-flowsac reads version {FORMAT['version']}"
        )
    for name, kind in {"policy": str, **dict.fromkeys((*SPACES, "policy_kwargs"), dict)}.items():
        if not isinstance(config.get(name), kind):
            raise ValueError(f"{path}: {name} must be a {kind.__name__}, got {str(config.get(name))[:200]}")
    for name in SPACES:
        try:
            config[name] = space_from_json(config[name])
        except ValueError as error:
            raise ValueError(f"{path}: {name}: {error}") from error
    return config


def read_policy(
    policy_class: "type[FlowPolicy]", config: dict[str, Any], folder: Path, given: dict[str, Any]
) -> "FlowPolicy":
    """
    Make the policy and read its weights.

    :param policy_class: class of the policy
    :param config: what ``read_config`` returned
    :param folder: where the files are
    :param given: arguments of the policy that replace those of the file
    :return: the policy, on the CPU
    :raises ValueError: if the files do not fit each other
    """
    path = folder / CONFIG
    kept = {name: value for name, value in config["policy_kwargs"].items() if name not in given}
    arguments = {name: _from_json(value, f"{path}: {name}") for name, value in kept.items()} | given
    weights = _read_weights(folder / WEIGHTS)
    has_own_class = policy_class.__module__ != MODULE or any(isinstance(value, type) for value in given.values())

    def make(policy_class: "type[FlowPolicy]") -> "FlowPolicy":
        try:
            with torch.random.fork_rng(devices=[]):  # first weights are drawn, and then replaced
                return policy_class(config["observation_space"], config["action_space"], lambda _: 0.0, **arguments)
        except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{path} describes no valid {policy_class.__name__}: {error}") from error

    if not has_own_class:  # which might need numbers to be made
        # The shapes first, without memory behind them: a file may ask for networks of any size
        with torch.device("meta"):
            _check_fit(make(_without_memory(policy_class)), weights, folder / WEIGHTS)
    policy = make(policy_class)
    _check_fit(policy, weights, folder / WEIGHTS)
    policy.load_state_dict(weights)
    policy.set_training_mode(False)
    return policy


def _without_memory(policy_class: "type[FlowPolicy]") -> "type[FlowPolicy]":
    """The same class, which leaves its networks on the device of shapes without numbers."""
    return type(policy_class.__name__, (policy_class,), {"device": property(lambda _: torch.device("meta"))})


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error


def _check_fit(policy: "FlowPolicy", weights: dict[str, torch.Tensor], path: Path) -> None:
    """Compare names, types and shapes, having brought the policy to the one floating-point type of the weights."""
    floats = {value.dtype for value in weights.values() if value.is_floating_point()}
    if len(floats) == 1:
        policy.to(floats.pop())  # float64, if the policy was
    needed = policy.state_dict()
    for name in sorted(needed.keys() | weights.keys()):
        if name not in needed or name not in weights:
            problem = "is missing" if name in needed else "is not of this policy"
            raise ValueError(f"{path} does not fit {CONFIG}: {name} {problem}")
        ours, theirs = (f"{value.dtype} of shape {tuple(value.shape)}" for value in (needed[name], weights[name]))
        if ours != theirs:
            raise ValueError(f"{path} does not fit {CONFIG}: {name} is {theirs}, needed is {ours}")


def _to_json(value: Any, name: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_to_json(item, name) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _to_json(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, type):
        known = [module for module, (content, _) in MODULES.items() if getattr(content, value.__name__, None) is value]
        kind, module = ("class", known[0]) if known else ("custom class", value.__module__)
        return {kind: f"{module}.{value.__name__}"}
    raise ValueError(f"{name}={value!r} cannot be written as JSON; numbers, texts, lists, dictionaries and classes can")


def _from_json(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_from_json(item, name) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"custom class"}:
        argument = name.rpartition(": ")[2].partition("[")[0]
        raise ValueError(
            f"{name}: this policy holds a custom class, {value['custom class']}; import it and hand it over: "
            f"from_pretrained(folder, {argument}=...)"
        )
    if value.keys() == {"class"}:
        return _known_class(value["class"], name)
    return {key: _from_json(item, f"{name}[{key!r}]") for key, item in value.items()}


def _known_class(path: Any, name: str) -> type[Any]:
    module, _, attribute = str(path).rpartition(".")
    content, kind = MODULES.get(module, (None, type(None)))
    found = getattr(content, attribute, None)
    if content is None or not (isinstance(found, type) and issubclass(found, kind)):
        raise ValueError(
            f"{name}: {path!r} is no class that a file may name; those are classes of {', '.join(MODULES)}"
        )
    return found
