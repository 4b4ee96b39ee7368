"""Settings of a run, read and checked before the Zoo reads them: it would hand an unknown key on to a constructor."""

import importlib
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rl_zoo3 import exp_manager

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.arguments import keywords, parameter_names

# What the Zoo takes out of an entry before it makes the algorithm
ZOO_KEYS = {"n_timesteps", "n_envs", "normalize", "env_wrapper", "vec_env_wrapper", "env_kwargs", "monitor_kwargs"}
ZOO_KEYS |= {"frame_stack", "callback", "noise_type", "noise_std"}
# Arguments of FlowSAC that the Zoo gives itself, from options of the same names
OPTIONS = {"env", "tensorboard_log", "verbose", "seed", "device"}


def config_file() -> Path:
    """Where ``flowsac.yml`` is, the settings for the Zoo: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "zoo_configs" / "flowsac.yml"
    return installed if installed.is_file() else package.parent / "zoo_configs" / "flowsac.yml"


def read_settings(conf_file: str, env: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    The settings of a run as the Zoo will read them.

    :param conf_file: a YAML file, a Python file or a Python module with a dictionary ``hyperparams``
    :param env: id of the environment; the entry ``default`` stands for one that the file does not name
    :param given: settings of the command line, which replace the entry's
    :return: the settings, ``policy_kwargs`` as a dictionary
    :raises ValueError: if they cannot be read, or a key is missing
    :raises TypeError: if a key is unknown
    """
    source = f"settings of {env} (-params, -conf/--conf-file {conf_file})"
    try:
        if conf_file.endswith((".yml", ".yaml")):
            entries = yaml.safe_load(Path(conf_file).read_text(encoding="utf-8"))
        elif conf_file.endswith(".py"):
            entries = runpy.run_path(conf_file)["hyperparams"]
        else:
            entries = importlib.import_module(conf_file).hyperparams
        settings = {**entries.get(env, entries.get("default", {})), **given}
        policy = settings.get("policy_kwargs") or {}
        settings["policy_kwargs"] = eval(policy, dict(vars(exp_manager))) if isinstance(policy, str) else policy
    except Exception as error:  # both may be any code
        raise ValueError(f"{source} cannot be read: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if options := sorted(OPTIONS & settings.keys()):
        raise ValueError(f"{source}: {options[0]!r} is an option, use --{options[0].replace('_', '-')}")
    keywords(source, settings, ZOO_KEYS | parameter_names(FlowSAC) - {"_init_setup_model"}, "FlowSAC")
    for name in ("n_timesteps", "policy"):
        if name not in settings:
            raise ValueError(f"{source}: the key {name!r} is missing, or there is neither an entry {env} nor 'default'")
    return settings
