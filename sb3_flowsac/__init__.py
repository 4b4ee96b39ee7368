"""Soft actor-critic with flow policies for Stable-Baselines3."""

import maxent_envs  # noqa: F401  (registers the environments)

from sb3_flowsac.flowsac import CnnPolicy, FlowPolicy, FlowSAC, MlpPolicy, MultiInputPolicy
from sb3_flowsac.version import __version__

__all__ = ["CnnPolicy", "FlowPolicy", "FlowSAC", "MlpPolicy", "MultiInputPolicy", "__version__"]
