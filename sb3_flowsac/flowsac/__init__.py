"""The algorithm and its policies for Stable-Baselines3."""

from sb3_flowsac.flowsac.flowsac import FlowSAC
from sb3_flowsac.flowsac.policies import CnnPolicy, FlowPolicy, MlpPolicy, MultiInputPolicy

__all__ = ["CnnPolicy", "FlowPolicy", "FlowSAC", "MlpPolicy", "MultiInputPolicy"]
