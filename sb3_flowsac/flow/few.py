"""The flow of a few points without gradients, in numpy: there most of torch's time is the overhead of its calls."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sb3_flowsac.flow.base import LOG_SCALE_MAX, LOG_SCALE_MIN, GaussianBase, StandardBase
from sb3_flowsac.flow.ode import Solver
from sb3_flowsac.flow.structured import StructuredField

Array = npt.NDArray[np.floating[Any]]

MOST_POINTS = 128  # above, the gain is small


def are_few(points: torch.Tensor) -> bool:
    """
    Whether ``push_few`` takes these points and is quicker: few of them, in a precision of numpy's, on a CPU, no
    gradients.

    :param points: (batch, n, dim)
    """
    few = points.shape[0] * points.shape[1] <= MOST_POINTS and points.dtype in (torch.float32, torch.float64)
    return few and points.device.type == "cpu" and not torch.is_grad_enabled()


def push_few(
    base: GaussianBase | StandardBase,
    field: StructuredField,
    features: torch.Tensor,
    noise: torch.Tensor,
    grid: Sequence[float],
    solver: Solver,
) -> torch.Tensor:
    """
    Where base and flow take base samples: what ``integrate`` and ``unwhiten`` give, up to rounding.

    :param base: the base distribution
    :param field: the field, prepared for the times of the grid's stages
    :param features: (batch, features_dim)
    :param noise: y_0, (batch, n, dim)
    :param grid: monotone times
    :param solver: the Runge-Kutta method
    :return: latents u, (batch, n, dim)
    """
    points = noise.numpy()
    if len(features) == 1:  # products of matrices, not of stacks of matrices: they take half of the time
        features, points = features[0], points[0]
    latents = _unwhiten(base, features, _integrate(field, features, points, grid, solver))
    return torch.from_numpy(latents).view(noise.shape)


def _integrate(
    field: StructuredField, features: torch.Tensor, x: Array, grid: Sequence[float], solver: Solver
) -> Array:
    """End points; features (..., features_dim) and points (..., n, dim) may have a batch axis or none."""
    dim, hidden = field.dim, field.units
    flat: Array = field.head(features).numpy()
    w_in = flat[..., : dim * hidden].reshape(*features.shape[:-1], dim, hidden)
    w_out = flat[..., dim * hidden : 2 * dim * hidden].reshape(w_in.shape).swapaxes(-1, -2)
    coefficients = flat[..., 2 * dim * hidden :].reshape(*features.shape[:-1], field.n_basis, -1)
    at_times = field.basis.numpy() @ coefficients
    if at_times.ndim == 3:  # (batch, times, ...) to (times, batch, ...)
        at_times = at_times.swapaxes(0, 1)
    at_times = at_times[..., None, :]
    gain, frequency = at_times[..., :hidden], at_times[..., hidden : 2 * hidden]
    phase, drift = at_times[..., 2 * hidden : 3 * hidden], at_times[..., 3 * hidden : 3 * hidden + dim]
    into, out_of = w_in * frequency, gain.swapaxes(-1, -2) * w_out  # at all times: fewer calls
    matrices = at_times[..., 3 * hidden + dim :]
    stage = 0
    for start, end in pairwise(grid):
        slopes: list[Array] = []
        for row in solver.stages:
            point = _combine(x, slopes, row, end - start)
            units = point @ into[stage]
            units += phase[stage]
            slope = np.tanh(units, out=units) @ out_of[stage]
            slope += drift[stage]
            if field.affine:
                matrix = matrices[stage].reshape(*features.shape[:-1], dim, dim)
                slope = slope + point @ matrix.swapaxes(-1, -2)
            slopes.append(slope)
            stage += 1
        x = _combine(x, slopes, solver.weights, end - start)
    return x


def _unwhiten(base: GaussianBase | StandardBase, features: torch.Tensor, y: Array) -> Array:
    """u = loc + L y, with the base's loc and L in each state."""
    if isinstance(base, StandardBase):
        return y
    dim = base.dim
    parameters: Array = base.head(features).numpy()
    log_std = np.minimum(np.maximum(parameters[..., dim : 2 * dim], LOG_SCALE_MIN), LOG_SCALE_MAX)  # quicker than clip
    loc, std = parameters[..., :dim], np.exp(log_std)
    relative = np.zeros((*features.shape[:-1], dim * dim), dtype=parameters.dtype)
    relative[..., :: dim + 1] = 1.0
    relative[..., base.lower.numpy()] = parameters[..., 2 * dim :]
    rows = relative.reshape(*features.shape[:-1], dim, dim).swapaxes(-1, -2)
    latents: Array = loc[..., None, :] + std[..., None, :] * (y @ rows)
    return latents


def _combine(start: Array, slopes: Sequence[Array], weights: Sequence[float], h: float) -> Array:
    """start + h sum_i weights_i slopes_i, as that of ``ode``, whose ``torch.add`` takes the factor along."""
    for slope, weight in zip(slopes, weights, strict=False):
        if weight:
            start = start + (weight * h) * slope
    return start
