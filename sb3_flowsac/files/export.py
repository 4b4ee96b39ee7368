"""A policy's ``predict`` as one network: for ``torch.export``, and in ONNX for programs without torch (extra
``export``)."""

import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import create_empty_array
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import obs_as_tensor
from torch import nn

from sb3_flowsac.algorithm import FlowPolicy
from sb3_flowsac.files.policy_folder import checked_policy
from sb3_flowsac.files.writing import replacing

NEEDED = ("onnx", "onnxscript")
EXAMPLE_BATCH = 2  # sizes 0 and 1 are special to torch.export, and would be fixed
LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")  # that report on the exporter's own work


def export_onnx(policy: FlowPolicy, path: str | Path, deterministic: bool = False) -> None:
    """
    Write what ``policy.predict`` does as an ONNX file, for programs without torch (extra ``export``).

    Inputs: ``observation``, one for each state of a batch of any size, shaped and typed as the observation space says
    (images channels first, of a Dict ``observation.KEY`` for each key); and, unless deterministic, ``noise``, standard
    normal numbers (batch, n_acting_candidates, action_dim). Output: ``action``, in the environment's units and within
    the Box. Observations that were normalised in training (``VecNormalize``) must be normalised before.

    :param policy: the policy, for example ``model.policy``
    :param path: the file, replaced if there is one
    :param deterministic: write ``predict(..., deterministic=True)``, which needs no noise
    :raises ImportError: if the extra ``export`` is not installed
    :raises TypeError: if it is no policy
    :raises OSError: if the file cannot be written
    """
    if missing := [module for module in NEEDED if importlib.util.find_spec(module) is None]:
        packages = " and ".join(missing)
        raise ImportError(f'writing ONNX needs {packages}, not installed: pip install "sb3-flowsac[export]"')
    with replacing(Path(path)) as file, _quiet_exporter():
        program = export_program(policy, deterministic)
        space = policy.observation_space
        names = [f"observation.{key}" for key in space] if isinstance(space, spaces.Dict) else ["observation"]
        onnx_program = torch.onnx.export(
            program,
            input_names=names if deterministic else [*names, "noise"],
            output_names=["action"],
            dynamo=True,
            verbose=False,
        )
        assert onnx_program is not None  # it is None only where torch writes the file itself
        file.write(onnx_program.model_proto.SerializeToString())


def export_program(policy: FlowPolicy, deterministic: bool = False) -> torch.export.ExportedProgram:
    """
    Trace what ``policy.predict`` does with ``torch.export``: ``export_program(policy).module()(observation, noise)``.

    Inputs and output are those of :func:`export_onnx`, as tensors or dictionaries of tensors, on the CPU.

    :param policy: the policy, for example ``model.policy``
    :param deterministic: trace ``predict(..., deterministic=True)``, which needs no noise
    :return: a program for batches of any size, which ``torch.export.save`` writes
    :raises TypeError: if it is no policy
    """
    prediction = _Prediction(policy)
    zeros: Any = create_empty_array(policy.observation_space, EXAMPLE_BATCH, np.zeros)
    # As ``predict`` makes tensors of observations
    observation, size = obs_as_tensor(zeros, torch.device("cpu")), {0: torch.export.Dim("batch")}
    inputs: tuple[Any, ...] = (observation,)
    sizes: tuple[Any, ...] = (dict.fromkeys(observation, size) if isinstance(observation, dict) else size,)
    if not deterministic:
        scale = prediction.policy.box.scale
        noise = scale.new_zeros(EXAMPLE_BATCH, policy.n_acting_candidates, len(scale))
        inputs, sizes = (*inputs, noise), (*sizes, size)
    # Without gradients the critics work block by block, and the number of blocks would be fixed
    with torch.enable_grad():
        return torch.export.export(prediction, inputs, dynamic_shapes=sizes)


class _Prediction(nn.Module):
    """``policy.predict`` on tensors, by a copy of the policy on the CPU and in evaluation mode."""

    def __init__(self, policy: FlowPolicy) -> None:
        super().__init__()
        self.policy = copy.deepcopy(checked_policy(policy)).cpu()
        self.eval()

    def forward(self, observation: PyTorchObs, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Actions, of the action space's shape, unscaled or clipped to it as SB3's ``predict`` does."""
        actions: torch.Tensor = self.policy(observation, deterministic=noise is None, noise=noise)
        box = self.policy.box
        actions = box.unscale(actions) if self.policy.squash_output else box.clamp(actions)
        return actions.reshape(-1, *(self.policy.action_space.shape or ()))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not there and steps that it leaves out."""
    levels = {logger: logger.level for logger in map(logging.getLogger, LOGGERS)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
