"""The algorithm and its policies for Stable-Baselines3."""

from sb3_flowsac.algorithm.flowsac import FlowSAC
from sb3_flowsac.algorithm.policies import CnnPolicy, FlowPolicy, MlpPolicy, MultiInputPolicy
from sb3_flowsac.algorithm.schedules import HoldThenLinearSchedule

__all__ = ["CnnPolicy", "FlowPolicy", "FlowSAC", "HoldThenLinearSchedule", "MlpPolicy", "MultiInputPolicy"]
