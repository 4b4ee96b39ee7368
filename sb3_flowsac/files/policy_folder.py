"""
A policy as a folder of ``config.json``, ``model.safetensors`` and ``README.md``, as the Hugging Face hub has them.

The hub's own ``PyTorchModelHubMixin`` allocates the networks that a file asks for before it looks at the weights, and
leaves spaces, classes and the checks of the file to its user, so that it would save us ``json.dump`` alone.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from stable_baselines3.common import torch_layers
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import get_device
from torch import nn, optim

from sb3_flowsac.algorithm import CnnPolicy, FlowPolicy, MultiInputPolicy
from sb3_flowsac.checks import abridged, naming
from sb3_flowsac.files.model_card import Results, model_card
from sb3_flowsac.files.spaces import space_from_json, space_to_json
from sb3_flowsac.files.writing import replacing
from sb3_flowsac.flow import Solver

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
TABLEAU = "Butcher tableau"  # key of a solver
FORMAT = {"format": "sb3-flowsac policy", "version": 1}
SPACES = ("observation_space", "action_space")
POLICIES: dict[str, type[FlowPolicy]] = {cls.__name__: cls for cls in (FlowPolicy, CnnPolicy, MultiInputPolicy)}
# The only modules that a name in a file may lead to, and what it must be there
MODULES: dict[str, tuple[Any, type[Any]]] = {
    "torch.nn": (nn, nn.Module),
    "torch.optim": (optim, optim.Optimizer),
    "stable_baselines3.common.torch_layers": (torch_layers, BaseFeaturesExtractor),
}


def save_policy(policy: FlowPolicy, folder: str | Path, results: Results | None = None) -> None:
    """
    Write a policy to ``config.json`` and ``model.safetensors``, files without pickles that :func:`load_policy` reads,
    and a model card to ``README.md``. Files of these names are replaced.

    :param policy: the policy, for example ``model.policy``
    :param folder: where to write; made if needed
    :param results: what the card's table of results says, texts or numbers by name; by default there is none
    :raises ValueError: if a space is not a Box, Discrete, MultiDiscrete, MultiBinary or a Dict of them, an argument
        of the policy is not a number, text, list, dictionary, class or ``Solver``, or the results are no such
        dictionary
    :raises TypeError: if it is no policy
    :raises OSError: if a file cannot be written
    """
    arguments = checked_policy(policy)._get_constructor_parameters()
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
        with replacing(Path(folder) / name) as file:
            file.write(content)


def checked_policy(policy: object) -> FlowPolicy:
    """Check that it is a policy; a model is often given in its place."""
    if not isinstance(policy, FlowPolicy):
        raise TypeError(f"policy must be a FlowPolicy such as model.policy, got {abridged(policy)}")
    return policy


def load_policy(
    folder: str | Path,
    device: torch.device | str = "auto",
    policy_class: type[FlowPolicy] | None = None,
    **policy_kwargs: Any,
) -> FlowPolicy:
    """
    Read a policy that :func:`save_policy` has written. Nothing in the files can run code. Weights in half precision (of
    ``policy.half()``: files of half the size) become single.

    :param folder: where the files are
    :param device: device on which the policy should run
    :param policy_class: the class that was saved, if it is none of this package's
    :param policy_kwargs: arguments of the policy in place of those in the file: the custom classes that it names,
        such as ``features_extractor_class``, and what has no weights, such as ``ode_steps``
    :return: the policy, in evaluation mode
    :raises ValueError: if the files are damaged, of an unknown version, or do not fit each other or the class; names
        file and key
    :raises OSError: if a file cannot be read
    """
    config_path, weights_path = Path(folder) / CONFIG, Path(folder) / WEIGHTS
    config = _read_config(config_path)
    known = POLICIES if policy_class is None else {policy_class.__name__: policy_class}
    if config["policy"] not in known:
        raise ValueError(f"{config_path}: policy is {config['policy']}; policy_class is {' or '.join(known)}")
    policy_class = known[config["policy"]]
    saved = {key: value for key, value in config["policy_kwargs"].items() if key not in policy_kwargs}
    arguments = {key: _from_json(value, f"{config_path}: {key}") for key, value in saved.items()} | policy_kwargs
    content = weights_path.read_bytes()
    with naming(f"{weights_path} is damaged or no safetensors file"):
        saved_weights = load(content)
    weights = {name: w.float() if w.dtype == torch.float16 else w for name, w in saved_weights.items()}

    def make(policy_class: type[FlowPolicy]) -> FlowPolicy:
        rule = f"{config_path} describes no valid {policy_class.__name__}"
        with naming(rule), torch.random.fork_rng(devices=[]):  # first weights are drawn, and then replaced
            policy = policy_class(config[SPACES[0]], config[SPACES[1]], lambda _: 0.0, **arguments)
        _check_fit(policy, weights, weights_path)
        return policy

    if policy_class in POLICIES.values() and not any(isinstance(value, type) for value in policy_kwargs.values()):
        # The shapes first, without memory behind them: a file may ask for networks of any size. Classes of the
        # user's own might need numbers to be made
        meta = torch.device("meta")
        with meta:
            make(type(policy_class.__name__, (policy_class,), {"device": property(lambda _: meta)}))
    policy = make(policy_class)
    policy.load_state_dict(weights)
    policy.set_training_mode(False)
    return policy.to(get_device(device))


def _read_config(path: Path) -> dict[str, Any]:
    """The content of ``config.json``, with the two spaces made."""
    content = path.read_bytes()
    with naming(f"{path} is no JSON"):
        found = json.loads(content)
    config: dict[str, Any] = found if isinstance(found, dict) else {}
    for name, value in FORMAT.items():
        if config.get(name) != value:
            raise ValueError(f"{path}: {name} must be {value!r}, got {abridged(config.get(name))}")
    for name, kind in {"policy": str, **dict.fromkeys((*SPACES, "policy_kwargs"), dict)}.items():
        if not isinstance(config.get(name), kind):
            raise ValueError(f"{path}: {name} must be a {kind.__name__}, got {abridged(config.get(name))}")
    for name in SPACES:
        with naming(f"{path}: {name}"):
            config[name] = space_from_json(config[name])
    return config


def _check_fit(policy: FlowPolicy, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Compare names, types and shapes, having brought the policy to the one floating-point type of the weights."""
    floats = {value.dtype for value in weights.values() if value.is_floating_point()}
    if len(floats) == 1:
        policy.to(floats.pop())  # float64, if the policy was
    needed, found = (
        {name: f"{value.dtype} of shape {tuple(value.shape)}" for name, value in tensors.items()}
        for tensors in (policy.state_dict(), weights)
    )
    for name in sorted(needed.keys() | found.keys()):
        if needed.get(name) != found.get(name):
            raise ValueError(f"{path}: {name} is {found.get(name)}, {CONFIG} needs {needed.get(name)}")


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
    if isinstance(value, Solver):
        return {TABLEAU: _to_json(asdict(value), name)}
    raise ValueError(
        f"{name}={value!r} cannot be written as JSON; numbers, texts, lists, dictionaries, classes and solvers can"
    )


def _from_json(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_from_json(item, name) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"custom class"}:
        argument = name.rpartition(": ")[2].partition("[")[0]
        raise ValueError(
            f"{name} is a class of the user's own, {value['custom class']}; import it and give it as "
            f"load_policy(folder, {argument}=...)"
        )
    if value.keys() == {TABLEAU}:
        with naming(f"{name}: {TABLEAU}"):
            return Solver(**{part: _tuples(numbers) for part, numbers in value[TABLEAU].items()})
    if value.keys() != {"class"}:
        return {key: _from_json(item, f"{name}[{key!r}]") for key, item in value.items()}
    module, _, attribute = str(value["class"]).rpartition(".")
    content, kind = MODULES.get(module, (None, object))
    found = getattr(content, attribute, None)
    if content is None or not (isinstance(found, type) and issubclass(found, kind)):
        raise ValueError(f"{name}: a file may name classes of {', '.join(MODULES)}, got {value['class']!r}")
    return found


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
