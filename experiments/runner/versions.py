"""What figures depend on besides code and seeds: versions, defaults, the machine, the code of this clone."""

import inspect
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import gymnasium as gym

import maxent_envs  # noqa: F401  # registers its environments
from sb3_flowsac import FlowPolicy, FlowSAC
from sb3_flowsac.flow import StructuredField
from sb3_flowsac.version import __version__

PACKAGES = ("stable-baselines3", "torch", "gymnasium", "numpy", "scipy")
ENVIRONMENT_PACKAGES = {
    "gymnasium.envs.mujoco": "mujoco",
    "gymnasium.envs.box2d": "Box2D",
    "maxent_envs": "sb3-flowsac",
}


def versions() -> dict[str, str]:
    """Versions of this package, of Python and of the packages that figures depend on."""
    return {
        "sb3-flowsac": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def defaults() -> dict[str, str]:
    """FlowSAC's and FlowPolicy's arguments where a study does not name them, and the fields' units in 1, 2, 3
    dimensions."""
    return {
        "units": str([StructuredField.default_kwargs(dim)["units"] for dim in (1, 2, 3)]),
        **{
            f"{function.__name__}({name})": str(parameter.default)
            for function in (FlowSAC, FlowPolicy)
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.default is not parameter.empty
        },
    }


def environment_versions(environment: str) -> dict[str, str]:
    """
    Versions of the packages that simulate an environment, besides Gymnasium.

    :param environment: its id
    """
    module = str(gym.spec(environment).entry_point)
    return {package: version(package) for prefix, package in ENVIRONMENT_PACKAGES.items() if module.startswith(prefix)}


def revision() -> str:
    """The commit of this clone, ``"-dirty"`` after it if files differ; ``"unknown"`` outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def machine() -> str:
    """The kind of machine."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
