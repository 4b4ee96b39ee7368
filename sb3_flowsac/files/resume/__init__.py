"""The state of a training run: taken, kept in files without pickles, put back. ``ResumableCheckpoint`` is its front
door."""

from sb3_flowsac.files.resume.checkpoints import Checkpoints
from sb3_flowsac.files.resume.environments import environment_state, restore_environment
from sb3_flowsac.files.resume.model import (
    buffer_state,
    model_state,
    random_state,
    restore_buffer,
    restore_model,
    restore_random,
)
from sb3_flowsac.files.resume.settings import check_same_run, run_settings

__all__ = [
    "Checkpoints",
    "buffer_state",
    "check_same_run",
    "environment_state",
    "model_state",
    "random_state",
    "restore_buffer",
    "restore_environment",
    "restore_model",
    "restore_random",
    "run_settings",
]
