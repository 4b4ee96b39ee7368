"""What a training depends on besides its algorithm: the environment's packages and the code of this clone."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import gymnasium as gym

import maxent_envs  # noqa: F401  # registers its environments

PACKAGES = {"gymnasium.envs.mujoco": "mujoco", "gymnasium.envs.box2d": "Box2D", "maxent_envs": "sb3-flowsac"}


def environment_versions(environment: str) -> dict[str, str]:
    """
    Versions of the packages that simulate an environment, besides Gymnasium.

    :param environment: its id
    """
    module = str(gym.spec(environment).entry_point)
    return {package: version(package) for prefix, package in PACKAGES.items() if module.startswith(prefix)}


def revision() -> str:
    """The commit of this clone, ``"-dirty"`` after it if files differ; ``"unknown"`` outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def machine() -> str:
    """The kind of machine."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
