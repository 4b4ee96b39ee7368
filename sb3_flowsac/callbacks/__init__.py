"""Callbacks for Stable-Baselines3."""

from sb3_flowsac.callbacks.lqr_optimality import LQROptimalityCallback
from sb3_flowsac.callbacks.resumable_checkpoint import ResumableCheckpoint

__all__ = ["LQROptimalityCallback", "ResumableCheckpoint"]
