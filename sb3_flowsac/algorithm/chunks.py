"""Long evaluations of a policy's density, in pieces that bound their memory if no gradients are asked for."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from sb3_flowsac.flow import FlowDistribution

Result = TypeVar("Result")

# Most pairs of state and action whose density is computed at once
CHUNK = 2**16


def in_chunks(
    distribution: FlowDistribution, points: torch.Tensor, function: Callable[[torch.Tensor], Result]
) -> list[Result]:
    """
    A function of a distribution at many points, some at a time, and a warning if the density is irregular at any of
    them.

    :param distribution: the distribution in each state
    :param points: (batch, n, dim)
    :param function: what to compute at points (batch, m, dim)
    :return: its results, in the points' order
    """
    results, irregular = [], torch.zeros_like(distribution.irregular_fraction)
    for part in torch.split(points, max(1, CHUNK // distribution.batch_size), dim=1):
        results.append(function(part))
        irregular += distribution.irregular_fraction * part.shape[1] / points.shape[1]
    _warn_if_irregular(irregular.item())
    return results


def _warn_if_irregular(fraction: float) -> None:
    if fraction > 0:
        warnings.warn(
            f"at {fraction:.2%} of the actions the flow's discrete steps fold space over or cannot be inverted, "
            f"and the exact "
            "density is not to be trusted there: use more ode_steps, or density='trace'",
            RuntimeWarning,
            stacklevel=4,
        )
