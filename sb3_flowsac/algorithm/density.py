"""Densities of a policy at many actions, in bounded memory."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from sb3_flowsac.flow import FlowDistribution

Result = TypeVar("Result")

LARGEST_PART = 2**16  # pairs of state and action whose density is computed at once


def in_parts(
    distribution: FlowDistribution, points: torch.Tensor, function: Callable[[torch.Tensor], Result]
) -> list[Result]:
    """
    A function of a distribution at many points, some at a time.

    Warns if the exact density is irregular at any of them.

    :param distribution: the distribution in each state
    :param points: (batch, n, dim)
    :param function: what to compute at points (batch, m, dim)
    :return: its results, in the points' order
    """
    results, irregular = [], torch.zeros_like(distribution.irregular_fraction)
    for part in torch.split(points, max(1, LARGEST_PART // max(1, distribution.batch_size)), dim=1):
        results.append(function(part))
        irregular += distribution.irregular_fraction * part.shape[1] / points.shape[1]
    if irregular > 0:
        warnings.warn(
            f"at {irregular.item():.2%} of the actions the flow's discrete steps fold space over or cannot be "
            "inverted, and near folds further exact densities may be wrong: use more ode_steps, or density='trace'",
            RuntimeWarning,
            stacklevel=3,
        )
    return results
