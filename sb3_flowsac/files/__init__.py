"""What is written to files: policies without pickles, exported policies, and checkpoints of runs."""

from sb3_flowsac.files.export import export_onnx, export_program
from sb3_flowsac.files.policy_folder import load_policy, save_policy

__all__ = ["export_onnx", "export_program", "load_policy", "save_policy"]
