"""Explicit Runge-Kutta integration of a flow, forwards, backwards and as an invertible discrete map.

A solver is a Butcher tableau plus one loop. Beside the end point every integration can return the logarithm of the
volume change: either the integral of the divergence (the paper's equation 6, Theorem 1) or the exact log-determinant
of the map that the discrete steps compute.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol, get_args

import torch

Volume = Literal["none", "trace", "exact"]
Time = float | torch.Tensor  # one time for all points, or one for each point (batch, n)


class Velocity(Protocol):
    """A velocity field v(x, t) with its state already given. ``x`` has shape (batch, n, dim)."""

    def __call__(self, x: torch.Tensor, t: Time) -> torch.Tensor:
        """Velocity at ``x``, shape (batch, n, dim)."""

    def divergence(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        """Velocity and tr(dv/dx), shapes (batch, n, dim) and (batch, n)."""

    def jacobian(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        """Velocity and dv/dx with entry [..., i, j] = dv_i/dx_j, shapes (batch, n, dim) and (batch, n, dim, dim)."""


@dataclass(frozen=True)
class Solver:
    """
    An explicit Runge-Kutta method, given by its Butcher tableau.

    :param nodes: the c_i, one per stage
    :param stages: the rows of a_ij below the diagonal, one per stage
    :param weights: the b_i, one per stage
    :param order: the order of convergence
    """

    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    order: int


SOLVERS: dict[str, Solver] = {
    "euler": Solver((0.0,), ((),), (1.0,), order=1),
    "midpoint": Solver((0.0, 0.5), ((), (0.5,)), (0.0, 1.0), order=2),
    "heun": Solver((0.0, 1.0), ((), (1.0,)), (0.5, 0.5), order=2),
    "rk4": Solver((0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), order=4),
}


def get_solver(name: str) -> Solver:
    """
    Look a solver up by name.

    :param name: one of ``SOLVERS``; "midpoint" is the paper's RK2
    :raises ValueError: if there is no such solver
    """
    if not isinstance(name, str) or name not in SOLVERS:
        raise ValueError(f"solver={name!r} is unknown; choose one of {sorted(SOLVERS)}")
    return SOLVERS[name]


def time_grid(n_steps: int, power: float = 1.0) -> tuple[float, ...]:
    """
    The times 0 = t_0 < ... < t_n = 1 between which the solver steps: t_k = 1 - (1 - k/n)^power.

    :param n_steps: number of steps, at least 1
    :param power: 1 is uniform; above 1 the grid is finer near t = 1, where flows to narrow targets are stiff
    :raises ValueError: if either is out of range
    """
    if isinstance(n_steps, bool) or not isinstance(n_steps, int) or n_steps < 1:
        raise ValueError(f"n_steps={n_steps!r} must be an integer of at least 1")
    if not (isinstance(power, int | float) and math.isfinite(power) and power > 0):
        raise ValueError(f"power={power!r} must be a positive number")
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


class _Step(NamedTuple):
    x: torch.Tensor
    log_volume: torch.Tensor | None
    jacobian: torch.Tensor | None


def _step(velocity: Velocity, x: torch.Tensor, t: float, h: float, solver: Solver, volume: Volume) -> _Step:
    """One step x -> x + h sum_i b_i k_i; with "exact" the step's Jacobian follows the stages by the chain rule."""
    slopes: list[torch.Tensor] = []
    rates: list[torch.Tensor | None] = []  # per stage: the divergence, or d k_i / d x
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) if volume == "exact" else None
    for node, row, weight in zip(solver.nodes, solver.stages, solver.weights, strict=True):
        point = _combine(x, slopes, row, h)
        time = t + node * h
        if eye is not None:
            slope, jacobian = velocity.jacobian(point, time)
            rates.append(jacobian if not slopes else jacobian @ _combine(eye, rates, row, h))
        elif volume == "trace" and weight:
            slope, divergence = velocity.divergence(point, time)
            rates.append(divergence)
        else:
            slope = velocity(point, time)
            rates.append(None)
        slopes.append(slope)
    end = _combine(x, slopes, solver.weights, h)
    if eye is not None:
        return _Step(end, None, _combine(eye, rates, solver.weights, h))
    if volume == "trace":
        return _Step(end, _combine(torch.zeros_like(x[..., 0]), rates, solver.weights, h), None)
    return _Step(end, None, None)


def _combine(start: torch.Tensor, slopes: Sequence[torch.Tensor | None], weights: Sequence[float], h: float) -> torch.Tensor:
    """start + h sum_i weights_i slopes_i, skipping the zeros of the tableau."""
    result = start
    for slope, weight in zip(slopes, weights, strict=False):
        if weight and slope is not None:
            result = torch.add(result, slope, alpha=weight * h)
    return result


def log_abs_det(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Sign and log |det| of small square matrices (..., d, d); closed forms up to d = 2, LU beyond.

    :return: sign and logarithm, both (...)
    """
    d = matrix.shape[-1]
    if d <= 2:
        det = matrix[..., 0, 0]
        if d == 2:
            det = det * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]
        return det.sign(), det.abs().log()
    sign, logarithm = torch.linalg.slogdet(matrix)
    return sign, logarithm


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
    log_volume = torch.zeros_like(x[..., 0])
    irregular = torch.zeros_like(log_volume, dtype=torch.bool)
    for start, end in pairwise(grid):
        step = _step(velocity, x, start, end - start, solver, volume)
        x = step.x
        if step.jacobian is not None:
            sign, logarithm = log_abs_det(step.jacobian)
            log_volume, irregular = log_volume + logarithm, irregular | (sign <= 0)
        elif step.log_volume is not None:
            log_volume = log_volume + step.log_volume
    return Transport(x, None if volume == "none" else log_volume, irregular if volume == "exact" else None)


def invert(
    velocity: Velocity,
    x: torch.Tensor,
    grid: Sequence[float],
    solver: Solver,
    *,
    max_iterations: int = 20,
    tolerance: float | None = None,
) -> Transport:
    """
    The exact inverse of ``integrate(..., volume="exact")``: from end points back to start points.

    A solver run backwards is not the inverse of the solver run forwards, so each step is undone by Newton's method,
    started from the backward step. The returned ``log_volume`` is that of the forward map. Gradients flow to ``x`` and to
    the field's parameters through the implicit function theorem (one last Newton step outside ``no_grad``).

    :param velocity: the field
    :param x: end points (batch, n, dim)
    :param grid: increasing times
    :param solver: the Runge-Kutta method
    :param max_iterations: most Newton iterations for a step
    :param tolerance: largest residual, relative to max(1, \\|x\\|); default 8 units of rounding
    """
    tolerance = 8 * torch.finfo(x.dtype).eps if tolerance is None else tolerance
    log_volume = torch.zeros_like(x[..., 0])
    irregular = torch.zeros_like(x[..., 0], dtype=torch.bool)
    for end, start in pairwise(reversed(grid)):
        h = end - start
        scale = tolerance * x.detach().abs().amax(-1).clamp(min=1.0)
        with torch.no_grad():
            guess = _step(velocity, x, end, -h, solver, "none").x
            for _ in range(max_iterations):
                step = _step(velocity, guess, start, h, solver, "exact")
                residual = step.x - x
                if bool((residual.abs().amax(-1) <= scale).all()):
                    break
                guess = guess - _solve(_jacobian(step), residual)
        step = _step(velocity, guess, start, h, solver, "exact")
        residual = step.x - x
        irregular = irregular | ~(residual.detach().abs().amax(-1) <= 16 * scale)
        if torch.is_grad_enabled():
            guess = guess - _solve(_jacobian(step).detach(), residual)
            step = _step(velocity, guess, start, h, solver, "exact")
        sign, logarithm = log_abs_det(_jacobian(step))
        x, log_volume, irregular = guess, log_volume + logarithm, irregular | (sign <= 0)
    return Transport(x, log_volume, irregular)


def _jacobian(step: _Step) -> torch.Tensor:
    assert step.jacobian is not None  # it was asked for
    return step.jacobian


def _solve(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    solution: torch.Tensor = torch.linalg.solve_ex(matrix, vector.unsqueeze(-1))[0]
    return solution.squeeze(-1)
