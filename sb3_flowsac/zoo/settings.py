"""Settings for the Zoo, read and checked before it gets them: it would hand an unknown key on to a constructor."""

import difflib
import importlib
import inspect
import runpy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from rl_zoo3 import exp_manager
from rl_zoo3.utils import get_class_by_name
from stable_baselines3.common.policies import BasePolicy

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.arguments import check_policy_kwargs

# What the Zoo takes out of an entry before it makes the algorithm
ZOO_KEYS = {"n_timesteps", "n_envs", "normalize", "env_wrapper", "vec_env_wrapper", "env_kwargs", "monitor_kwargs"}
ZOO_KEYS |= {"frame_stack", "callback", "noise_type", "noise_std"}
# Arguments of FlowSAC that the Zoo gives itself, from options of the same names
OPTIONS = {"env", "tensorboard_log", "verbose", "seed", "device"}
NEEDED = ("n_timesteps", "policy")


def read_entry(conf_file: str, env: str) -> dict[str, Any]:
    """
    The entry of an environment, or the default one, as the Zoo would read it.

    :param conf_file: a YAML file, a Python file or a Python module with a dictionary ``hyperparams``
    :param env: id of the environment
    :raises ValueError: if there is none, or the file cannot be read
    """
    try:
        if conf_file.endswith((".yml", ".yaml")):
            entries = yaml.safe_load(Path(conf_file).read_text())
        elif conf_file.endswith(".py"):
            entries = runpy.run_path(conf_file)["hyperparams"]
        else:
            entries = importlib.import_module(conf_file).hyperparams
    except (yaml.YAMLError, ImportError, KeyError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{conf_file} cannot be read: {type(error).__name__}: {reason}") from error
    entry = entries.get(env, entries.get("default")) if isinstance(entries, Mapping) else None
    if not isinstance(entry, Mapping):
        raise ValueError(f"{conf_file} has neither an entry {env!r} nor one named 'default'")
    return dict(entry)


def check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """
    Refuse keys that neither the Zoo nor FlowSAC nor its policy knows.

    :param settings: an entry
    :return: the entry with its ``policy_kwargs`` as a dictionary
    :raises ValueError: if a key is unknown, names the nearest; if one is missing
    :raises TypeError: if a key of ``policy_kwargs`` is unknown
    """
    check_names(settings)
    if missing := [name for name in NEEDED if name not in settings]:
        raise ValueError(f"the key {missing[0]!r} is missing")
    settings = {**settings, "policy_kwargs": evaluated("policy_kwargs", settings.get("policy_kwargs"))}
    check_policy_kwargs(policy_class(settings["policy"]), settings["policy_kwargs"])
    return settings


def check_names(names: Iterable[str]) -> None:
    """
    Refuse names that neither the Zoo nor FlowSAC knows.

    :param names: keys of an entry
    :raises ValueError: if one is unknown, names the nearest
    """
    known = sorted((ZOO_KEYS | set(inspect.signature(FlowSAC).parameters)) - OPTIONS - {"_init_setup_model"})
    for name in names:
        if name in OPTIONS:
            raise ValueError(f"{name!r} is no setting; use the option --{name.replace('_', '-')}")
        if name not in known:
            near = difflib.get_close_matches(name, known)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"unknown key {name!r}; {hint}")


def evaluated(name: str, value: Any) -> dict[str, Any]:
    """
    Keyword arguments, which may be a text in Python, as the Zoo would evaluate it.

    :param name: key of the entry, for the message
    :param value: its value
    :raises ValueError: if it is no dictionary
    """
    if isinstance(value, str):
        try:
            value = eval(value, dict(vars(exp_manager)))
        except Exception as error:
            raise ValueError(f"{name}={value!r} cannot be evaluated: {error}") from error
    if not (value is None or isinstance(value, dict)):
        raise ValueError(f"{name}={value!r} must be a dictionary")
    return value or {}


def policy_class(policy: Any) -> type[BasePolicy]:
    """
    The policy of an entry.

    :param policy: an alias of FlowSAC's, or the full name of a class
    :raises ValueError: if there is none of this name
    """
    if policy in FlowSAC.policy_aliases:
        return FlowSAC.policy_aliases[policy]
    try:
        found: type[BasePolicy] = get_class_by_name(policy)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        aliases = ", ".join(FlowSAC.policy_aliases)
        raise ValueError(
            f"policy={policy!r} is unknown; choose one of {aliases}, or a class by its full name"
        ) from error
    return found
