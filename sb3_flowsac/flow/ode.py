"""Explicit Runge-Kutta integration of a flow, forwards, backwards and as an invertible discrete map.

A solver is a Butcher tableau plus one loop. Beside the end point every integration can return the logarithm of the
volume change: either the integral of the divergence (the paper's equation 6, Theorem 1) or the exact log-determinant
of the map that the discrete steps compute.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch

from sb3_flowsac.flow.matrices import log_abs_det, matmul
from sb3_flowsac.flow.velocity import NumpyArray, Velocity

Volume = Literal["none", "trace", "exact"]
Points = TypeVar("Points", torch.Tensor, NumpyArray)

# Most entries of the Jacobians that are computed at once: about as much as a processor core has cache for
MOST_ENTRIES = 2**18
MOST_ITERATIONS = 20  # of Newton's method in a step
MOST_HALVINGS = 6  # of a correction of Newton's method


@dataclass(frozen=True)
class Solver:
    """
    An explicit Runge-Kutta method, given by its Butcher tableau.

    :param nodes: the c_i, one per stage
    :param stages: the rows of a_ij below the diagonal, one per stage
    :param weights: the b_i, one per stage
    :raises ValueError: if the parts do not fit each other, or it is not consistent (the weights sum to 1, each node is
        the sum of its row)
    """

    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.nodes) == len(self.stages) == len(self.weights) > 0:
            raise ValueError("nodes, stages and weights must have one entry for each stage, at least one")
        for i, (node, row) in enumerate(zip(self.nodes, self.stages, strict=True)):
            if len(row) > i or not math.isclose(sum(row), node, abs_tol=1e-9):
                raise ValueError(f"stages[{i}] must have at most {i} entries with the sum nodes[{i}]={node}; got {row}")
        if not math.isclose(sum(self.weights), 1.0, abs_tol=1e-9):
            raise ValueError(f"weights must sum to 1, got {self.weights}")


SOLVERS: dict[str, Solver] = {
    "euler": Solver((0.0,), ((),), (1.0,)),
    "midpoint": Solver((0.0, 0.5), ((), (0.5,)), (0.0, 1.0)),
    "heun": Solver((0.0, 1.0), ((), (1.0,)), (0.5, 0.5)),
    "rk4": Solver((0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


def time_grid(n_steps: int, power: float = 1.0) -> tuple[float, ...]:
    """
    The times 0 = t_0 < ... < t_n = 1 between which the solver steps: t_k = 1 - (1 - k/n)^power.

    :param n_steps: number of steps, at least 1
    :param power: 1 is uniform; above 1 the grid is finer near t = 1, where flows to narrow targets are stiff
    """
    return tuple(1.0 - (1.0 - k / n_steps) ** power for k in range(n_steps + 1))


class Transport(NamedTuple):
    """
    Where points went and what that did to volume.

    ``x``: end points (batch, n, dim). ``log_volume``: log |dx_end / dx_start| (batch, n), or None with "none".
    ``irregular``: (batch, n) bool, or None: True where the exact map of the discrete steps has a negative determinant
    (it folds space over) or, for an inversion, where Newton's method has not converged. There the density is not to be
    trusted: use more steps.
    """

    x: torch.Tensor
    log_volume: torch.Tensor | None
    irregular: torch.Tensor | None


def stage_times(grid: Sequence[float], solver: Solver) -> tuple[float, ...]:
    """The times at which a solver asks for the velocity, in order."""
    return tuple(start + node * (end - start) for start, end in pairwise(grid) for node in solver.nodes)


def step(rate: Callable[[Points, float], Points], x: Points, t: float, h: float, solver: Solver) -> Points:
    """
    One step x -> x + h sum_i b_i k_i.

    :param rate: k, from a point and a time
    :param x: start points
    :param t: time at the start
    :param h: step size, negative for a step backwards
    :param solver: the Runge-Kutta method
    """
    slopes: list[Points] = []
    for node, row in zip(solver.nodes, solver.stages, strict=True):
        slopes.append(rate(combine(x, slopes, row, h), t + node * h))
    return combine(x, slopes, solver.weights, h)


def follow(rate: Callable[[Points, float], Points], x: Points, grid: Sequence[float], solver: Solver) -> Points:
    """
    The steps of a grid, one after the other, see ``step``.

    :param grid: monotone times
    """
    for start, end in pairwise(grid):
        x = step(rate, x, start, end - start, solver)
    return x


def _step_with_trace(
    velocity: Velocity, x: torch.Tensor, t: float, h: float, solver: Solver
) -> tuple[torch.Tensor, torch.Tensor]:
    """End points, and the integral of the divergence by the same quadrature."""
    log_volume, weights = torch.zeros_like(x[..., 0]), iter(solver.weights)

    def rate(point: torch.Tensor, time: float) -> torch.Tensor:
        nonlocal log_volume
        weight = next(weights)
        if not weight:
            return velocity(point, time)
        slope, divergence = velocity.divergence(point, time)
        log_volume = torch.add(log_volume, divergence, alpha=weight * h)
        return slope

    return step(rate, x, t, h, solver), log_volume


def _step_with_forms(
    velocity: Velocity, x: torch.Tensor, t: float, h: float, solver: Solver
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """End points, and for each stage h times the local form of the Jacobian."""
    local_forms: list[torch.Tensor] = []

    def rate(point: torch.Tensor, time: float) -> torch.Tensor:
        slope, local = velocity.linearise(point, time)
        local_forms.append(h * local)
        return slope

    return step(rate, x, t, h, solver), local_forms


def _step_jacobian(velocity: Velocity, local_forms: Sequence[torch.Tensor], solver: Solver) -> torch.Tensor:
    """
    The Jacobian of a step, which follows the stages by the chain rule: dk_i/dx = J_i (I + sum_j a_ij dk_j/dx).

    :param local_forms: h times the local form of each stage, (batch, n, ...)
    :return: (batch, n, dim, dim)
    """
    rates: list[torch.Tensor] = []
    for local, row in zip(local_forms, solver.stages, strict=True):
        jacobian = velocity.jacobian(local)
        eye = torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
        rates.append(matmul(jacobian, combine(eye, rates, row, 1.0)) if any(row) else jacobian)
    return combine(eye, rates, solver.weights, 1.0)


def _step_volume(
    velocity: Velocity, steps: Sequence[Sequence[torch.Tensor]], solver: Solver
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The logarithm of the volume change over several steps, and where one of them folds space over.

    :param steps: of each step the local forms of its stages
    :return: (batch, n) and (batch, n) bool
    """
    jacobian = _step_jacobian(velocity, [torch.cat(stage, dim=1) for stage in zip(*steps, strict=True)], solver)
    shape = len(jacobian), len(steps), jacobian.shape[1] // len(steps)
    sign, logarithm = (part.view(shape) for part in log_abs_det(jacobian))
    return logarithm.sum(1), (sign <= 0).any(1)


def combine(start: Points, slopes: Sequence[Points], weights: Sequence[float], h: float) -> Points:
    """start + h sum_i weights_i slopes_i, skipping the zeros of the tableau."""
    for slope, weight in zip(slopes, weights, strict=False):
        if weight:
            if isinstance(slope, np.ndarray):
                start = start + (weight * h) * slope
            else:
                start = torch.add(start, slope, alpha=weight * h)
    return start


def integrate(
    velocity: Velocity, x: torch.Tensor, grid: Sequence[float], solver: Solver, volume: Volume = "none"
) -> Transport:
    """
    Follow dx/dt = v(x, t) from ``grid[0]`` to ``grid[-1]`` (a decreasing grid integrates backwards).

    With ``volume="trace"`` the volume is the integral of the divergence by the same quadrature; with "exact" it is the
    log-determinant of the discrete map that takes ``x`` to the returned points.

    :param velocity: the field
    :param x: start points (batch, n, dim)
    :param grid: monotone times
    :param solver: the Runge-Kutta method
    :param volume: which volume change to compute
    """
    if volume not in get_args(Volume):
        raise ValueError(f"volume={volume!r} is unknown; choose one of {list(get_args(Volume))}")
    if x.shape[1] == 1:  # as single points are quickest: in memory the batch comes last
        x = x.squeeze(1).T.contiguous().T.unsqueeze(1)
    if volume == "none":
        return Transport(follow(velocity, x, grid, solver), None, None)
    log_volume = torch.zeros_like(x[..., 0])
    if volume == "trace":
        for start, end in pairwise(grid):
            x, change = _step_with_trace(velocity, x, start, end - start, solver)
            log_volume = log_volume + change
        return Transport(x, log_volume, None)
    irregular = torch.zeros_like(log_volume, dtype=torch.bool)
    pending: list[list[torch.Tensor]] = []
    for start, end in pairwise(grid):
        x, local_forms = _step_with_forms(velocity, x, start, end - start, solver)
        pending.append(local_forms)
        if end == grid[-1] or (len(pending) + 1) * x.numel() * x.shape[-1] > MOST_ENTRIES:
            change, folds = _step_volume(velocity, pending, solver)
            log_volume, irregular, pending = log_volume + change, irregular | folds, []
    return Transport(x, log_volume, irregular)


def invert(
    velocity: Velocity,
    x: torch.Tensor,
    grid: Sequence[float],
    solver: Solver,
) -> Transport:
    """
    The exact inverse of ``integrate(..., volume="exact")``: from end points back to start points.

    A solver run backwards is not the inverse of the solver run forwards, so each step is undone by Newton's method with
    backtracking, started from the backward step. The returned ``log_volume`` is that of the forward map. Gradients flow
    to ``x`` and to the field's parameters through the implicit function theorem (one last Newton step outside
    ``no_grad``).

    :param velocity: the field
    :param x: end points (batch, n, dim)
    :param grid: increasing times
    :param solver: the Runge-Kutta method
    """
    tolerance = 8 * torch.finfo(x.dtype).eps  # of the residual, relative to max(1, |x|)
    log_volume = torch.zeros_like(x[..., 0])
    irregular = torch.zeros_like(x[..., 0], dtype=torch.bool)
    for end, start in pairwise(reversed(grid)):
        h = end - start
        scale = tolerance * x.detach().abs().amax(-1).clamp(min=1.0)
        guess = _undo_step(velocity, x, start, h, solver, scale)
        end_point, local_forms = _step_with_forms(velocity, guess, start, h, solver)
        residual = end_point - x
        irregular = irregular | ~(residual.detach().abs().amax(-1) <= 16 * scale)
        if torch.is_grad_enabled():
            guess = guess - _solve(_step_jacobian(velocity, local_forms, solver).detach(), residual)
            _, local_forms = _step_with_forms(velocity, guess, start, h, solver)
        change, folds = _step_volume(velocity, [local_forms], solver)
        x, log_volume, irregular = guess, log_volume + change, irregular | folds
    return Transport(x, log_volume, irregular)


@torch.no_grad()
def _undo_step(
    velocity: Velocity, x: torch.Tensor, start: float, h: float, solver: Solver, tolerance: torch.Tensor
) -> torch.Tensor:
    """The points that a step takes to ``x``; where Newton's method would overshoot, its correction is halved."""
    guess = step(velocity, x, start + h, -h, solver)
    for _ in range(MOST_ITERATIONS):
        end_point, local_forms = _step_with_forms(velocity, guess, start, h, solver)
        residual = end_point - x
        if bool((residual.abs().amax(-1) <= tolerance).all()):
            break
        correction = _solve(_step_jacobian(velocity, local_forms, solver), residual)
        largest = residual.norm(dim=-1).maximum(tolerance)
        for _ in range(MOST_HALVINGS):
            error = step(velocity, guess - correction, start, h, solver) - x
            grows = ~(error.norm(dim=-1) <= largest)
            if not bool(grows.any()):
                break
            correction = torch.where(grows.unsqueeze(-1), 0.5 * correction, correction)
        guess = guess - correction
    return guess


def _solve(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    solution: torch.Tensor = torch.linalg.solve_ex(matrix, vector.unsqueeze(-1))[0]
    return solution.squeeze(-1)
