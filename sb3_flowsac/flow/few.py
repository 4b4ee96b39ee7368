"""The flow of a few points without gradients, in numpy: there most of torch's time is the overhead of its calls."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sb3_flowsac.flow.fields import StructuredVelocity
from sb3_flowsac.flow.ode import Solver

Array = npt.NDArray[np.floating[Any]]

MOST_POINTS = 128  # above, the gain is small


def are_few(points: torch.Tensor) -> bool:
    """
    Whether ``push_few`` takes these points and is quicker: few of them, in a precision of numpy's, on a CPU, no gradients.

    :param points: (batch, n, dim)
    """
    few = points.shape[0] * points.shape[1] <= MOST_POINTS and points.dtype in (torch.float32, torch.float64)
    return few and points.device.type == "cpu" and not torch.is_grad_enabled()


def push_few(velocity: StructuredVelocity, points: torch.Tensor, grid: Sequence[float], solver: Solver) -> torch.Tensor:
    """
    Where the steps of a solver take points: what ``integrate`` gives, up to rounding.

    :param velocity: the field in each state, prepared for the times of the grid's stages
    :param points: (batch, n, dim)
    :param grid: monotone times
    :param solver: the Runge-Kutta method
    """
    w_in, w_out = velocity.w_in.detach().numpy(), velocity.w_out.detach().mT.numpy()
    stages = zip(*_coefficients(velocity), strict=True)
    x: Array = points.detach().numpy()
    for start, end in pairwise(grid):
        slopes: list[Array] = []
        for row in solver.stages:
            gain, frequency, phase, drift, matrix = next(stages)
            point = _combine(x, slopes, row, end - start)
            slope = (gain * np.tanh(frequency * (point @ w_in) + phase)) @ w_out + drift
            slopes.append(slope + point @ matrix if matrix.size else slope)
        x = _combine(x, slopes, solver.weights, end - start)
    return torch.from_numpy(x)


def _coefficients(velocity: StructuredVelocity) -> list[Array]:
    """[g, k, b, m] at each prepared time, (times, batch, 1, ...), and M transposed, (times, batch, dim, dim) or empty."""
    assert velocity.basis is not None
    dim, hidden = velocity.w_in.shape[1:]
    combined: Array = (velocity.basis.numpy() @ velocity.coefficients.detach().numpy()).swapaxes(0, 1)[:, :, None]
    *vectors, matrix = np.split(combined, [hidden, 2 * hidden, 3 * hidden, 3 * hidden + dim], axis=-1)
    side = dim if matrix.size else 0
    return [*vectors, matrix.reshape(*matrix.shape[:2], side, side).swapaxes(2, 3)]


def _combine(start: Array, slopes: Sequence[Array], weights: Sequence[float], h: float) -> Array:
    """start + h sum_i weights_i slopes_i, as that of ``ode``, whose ``torch.add`` takes the factor along."""
    for slope, weight in zip(slopes, weights, strict=False):
        if weight:
            start = start + (weight * h) * slope
    return start
