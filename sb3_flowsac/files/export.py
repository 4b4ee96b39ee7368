"""A policy's ``predict`` as one network: for ``torch.export``, and in ONNX for programs without torch (extra
``export``)."""

import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_flowsac.files.writing import replacing

if TYPE_CHECKING:
    from sb3_flowsac.algorithm.policies import FlowPolicy

NEEDED = ("onnx", "onnxscript")
EXAMPLE_BATCH = 2  # sizes 0 and 1 are special to torch.export, and would be fixed
QUIET = ("torch.onnx", "onnxscript", "onnx_ir")  # loggers that report on their own work


class Prediction(nn.Module):
    """
    What ``policy.predict`` computes, from a batch of observations and noise to actions in the environment's units.

    It holds a copy of the policy, on the CPU and in evaluation mode.

    :param policy: the policy
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, policy: "FlowPolicy") -> None:
        super().__init__()
        self.policy = copy.deepcopy(policy).cpu()
        box = cast(spaces.Box, policy.action_space)
        self.register_buffer("low", torch.as_tensor(box.low), persistent=False)
        self.register_buffer("high", torch.as_tensor(box.high), persistent=False)
        self.eval()

    def forward(self, observation: PyTorchObs, noise: torch.Tensor | None = None) -> torch.Tensor:
        """
        Actions, of the action space's shape, unscaled or clipped to it as SB3's ``predict`` does.

        :param observation: as the policy's networks take them, see ``FlowPolicy.to_onnx``
        :param noise: standard normal, (batch, n_acting_candidates, action_dim); ``None`` if deterministic
        """
        features = self.policy.actor_average.features(observation)
        noise = self.policy._noise(features, deterministic=True) if noise is None else noise
        latents = self.policy.actor_average.flow(features).push(noise)
        actions = self.policy._act(observation, latents).reshape(-1, *self.low.shape)
        if self.policy.squash_output:
            return self.low + 0.5 * (actions + 1.0) * (self.high - self.low)
        return torch.clamp(actions, self.low, self.high)


def exported_program(policy: "FlowPolicy", deterministic: bool) -> torch.export.ExportedProgram:
    """
    Trace a policy's prediction; see ``FlowPolicy.to_exported_program``.

    :param policy: the policy
    :param deterministic: whether to predict deterministically
    """
    prediction = Prediction(policy)
    observation, size = _example(policy), {0: torch.export.Dim("batch")}
    inputs: tuple[Any, ...] = (observation,)
    sizes: tuple[Any, ...] = (dict.fromkeys(observation, size) if isinstance(observation, dict) else size,)
    if not deterministic:
        noise = torch.zeros(EXAMPLE_BATCH, policy.n_acting_candidates, len(policy.action_scale))
        inputs, sizes = (*inputs, noise.to(prediction.policy.action_scale)), (*sizes, size)
    with (
        torch.enable_grad()
    ):  # without gradients the critics work block by block, and the number of blocks would be fixed
        return torch.export.export(prediction, inputs, dynamic_shapes=sizes)


def write_onnx(policy: "FlowPolicy", path: Path, deterministic: bool) -> None:
    """
    Write a policy's prediction in ONNX; see ``FlowPolicy.to_onnx``.

    :param policy: the policy
    :param path: the file
    :param deterministic: whether to predict deterministically
    :raises ImportError: if the extra ``export`` is not installed
    """
    missing = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    if missing:
        raise ImportError(
            f'writing ONNX needs {" and ".join(missing)}, not installed; install it with: pip install "sb3-flowsac[export]"'
        )
    program = exported_program(policy, deterministic)
    with _quietly():
        onnx_program = torch.onnx.export(
            program,
            input_names=_input_names(policy, deterministic),
            output_names=["action"],
            dynamo=True,
            verbose=False,
        )
    assert onnx_program is not None  # it is None only where torch writes the file itself
    with replacing(path) as file:
        file.write(onnx_program.model_proto.SerializeToString())


def _example(policy: "FlowPolicy") -> PyTorchObs:
    """Observations of the right shapes and types, as ``predict`` would make tensors of them."""
    space = copy.deepcopy(policy.observation_space)  # whose generator is not moved
    drawn = [space.sample() for _ in range(EXAMPLE_BATCH)]
    if isinstance(drawn[0], dict):
        return {key: torch.stack([torch.as_tensor(each[key]) for each in drawn]) for key in drawn[0]}
    return torch.stack([torch.as_tensor(each) for each in drawn])


def _input_names(policy: "FlowPolicy", deterministic: bool) -> list[str]:
    observation = _example(policy)
    names = [f"observation.{key}" for key in observation] if isinstance(observation, dict) else ["observation"]
    return names if deterministic else [*names, "noise"]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not there and steps that it leaves out."""
    levels = {logger: logger.level for logger in map(logging.getLogger, QUIET)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
