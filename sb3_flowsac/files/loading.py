"""Saved models and policies, loaded to be looked at or exported: no environment, no room for experience."""

from pathlib import Path
from typing import Any

from sb3_flowsac.algorithm import FlowPolicy, FlowSAC
from sb3_flowsac.files.policy_folder import load_policy

# What a model needs only to go on learning
WITHOUT_MEMORY: dict[str, Any] = {
    "buffer_size": 1,
    "optimize_memory_usage": False,
    "replay_buffer_class": None,
    "replay_buffer_kwargs": {},
    "n_steps": 1,
}


def load_saved(path: Path) -> FlowSAC | FlowPolicy:
    """
    Load what was saved, on the CPU. A zip file holds pickles, which can run code: load only those that you trust.

    :param path: zip file of ``FlowSAC.save``, or folder of ``save_policy``
    :return: the model, or from a folder its policy
    """
    if path.is_dir():
        return load_policy(path, device="cpu")
    return FlowSAC.load(path, device="cpu", **WITHOUT_MEMORY)


def policy_of(saved: FlowSAC | FlowPolicy) -> FlowPolicy:
    """The policy of what ``load_saved`` gave."""
    return saved.policy if isinstance(saved, FlowSAC) else saved
