"""One point of each state with the trace integral, without gradients: what each gradient step asks for."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from sb3_flowsac.flow.ode import Solver, combine
from sb3_flowsac.flow.structured import StructuredField


@torch.no_grad()
def push_singles(
    field: StructuredField, features: torch.Tensor, points: torch.Tensor, grid: Sequence[float], solver: Solver
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    What ``integrate`` with ``volume="trace"`` gives for one point of each state, up to rounding, in half of the time.

    The batch is the last axis of all arrays, so that every operation runs over contiguous memory.

    :param field: the velocity field, prepared for the times of the grid's stages
    :param features: (batch, features_dim)
    :param points: (batch, dim)
    :param grid: monotone times
    :param solver: the Runge-Kutta method
    :return: end points (batch, dim) and logarithms of the volume change (batch,)
    """
    dim, hidden = field.dim, field.units
    columns = torch.addmm(field.head.bias.unsqueeze(1), field.head.weight, features.T)
    w_in, w_out, coefficients = torch.split(columns, field.sizes)
    w_in, w_out = w_in.view(dim, hidden, -1), w_out.view(dim, hidden, -1)
    of_units = (w_in * w_out).sum(0)  # what each unit adds to the trace, for a slope of 1
    at_times = (field.basis @ coefficients.view(field.n_basis, -1)).view(len(field.times), field.n_coefficients, -1)
    gain, frequency, phase, drift, matrix = torch.split(at_times, field.coefficient_sizes, dim=1)
    matrix = matrix.view(len(field.times), -1, dim, matrix.shape[-1])
    steepness = gain * frequency
    x, log_volume, stage = points.T.contiguous(), points.new_zeros(len(points)), 0
    for start, end in pairwise(grid):
        slopes: list[torch.Tensor] = []
        for row, weight in zip(solver.stages, solver.weights, strict=True):
            point = combine(x, slopes, row, end - start)
            units = torch.addcmul(phase[stage], frequency[stage], (point.unsqueeze(1) * w_in).sum(0)).tanh_()
            slope = (gain[stage] * units * w_out).sum(1) + drift[stage]
            if field.affine:
                slope = slope + (matrix[stage] * point).sum(1)
            if weight:
                divergence = (steepness[stage] * (1.0 - units.square()) * of_units).sum(0)
                if field.affine:
                    divergence = divergence + matrix[stage].diagonal().sum(-1)
                log_volume = log_volume.add(divergence, alpha=weight * (end - start))
            slopes.append(slope)
            stage += 1
        x = combine(x, slopes, solver.weights, end - start)
    return x.T, log_volume
