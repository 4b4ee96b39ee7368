"""Soft actor-critic with flow policies for Stable-Baselines3."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import maxent_envs  # noqa: F401  (registers the environments)
from sb3_flowsac.version import __version__

if TYPE_CHECKING:
    from sb3_flowsac.algorithm import (
        CnnPolicy,
        FlowPolicy,
        FlowSAC,
        HoldThenLinearSchedule,
        MlpPolicy,
        MultiInputPolicy,
    )
    from sb3_flowsac.files import export_onnx, export_program, load_policy, save_policy

__all__ = [
    "CnnPolicy",
    "FlowPolicy",
    "FlowSAC",
    "HoldThenLinearSchedule",
    "MlpPolicy",
    "MultiInputPolicy",
    "__version__",
    "export_onnx",
    "export_program",
    "load_policy",
    "save_policy",
]


def __getattr__(name: str) -> Any:
    """Import the algorithm, and torch with it, when it is first asked for: the command line stays quick without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    algorithm = import_module("sb3_flowsac.algorithm")
    return getattr(algorithm if hasattr(algorithm, name) else import_module("sb3_flowsac.files"), name)
