"""Callbacks for Stable-Baselines3."""

from sb3_flowsac.callbacks.figures import FigureCallback
from sb3_flowsac.callbacks.hparams import HParamsCallback
from sb3_flowsac.callbacks.lqr_optimality import LQROptimalityCallback
from sb3_flowsac.callbacks.resumable_checkpoint import ResumableCheckpoint
from sb3_flowsac.files.run_settings import hyperparameters

__all__ = ["FigureCallback", "HParamsCallback", "LQROptimalityCallback", "ResumableCheckpoint", "hyperparameters"]
