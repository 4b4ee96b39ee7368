"""Soft actor-critic with flow policies for Stable-Baselines3."""

from typing import TYPE_CHECKING, Any

import maxent_envs  # noqa: F401  (registers the environments)
from sb3_flowsac.version import __version__

if TYPE_CHECKING:
    from sb3_flowsac.algorithm import CnnPolicy, FlowPolicy, FlowSAC, MlpPolicy, MultiInputPolicy

__all__ = ["CnnPolicy", "FlowPolicy", "FlowSAC", "MlpPolicy", "MultiInputPolicy", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the algorithm, and torch with it, when it is first asked for: the command line stays quick without."""
    if name in __all__:
        import sb3_flowsac.algorithm

        return getattr(sb3_flowsac.algorithm, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
