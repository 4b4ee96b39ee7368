"""Matrix equations of discounted linear-quadratic control; plain functions of plain matrices."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, matrix_balance, solve_discrete_are

from maxent_envs.validation import FloatArray

MARGIN = 1e-9  # modes so close to the unit circle, or beyond it, must be moved by the input
RANK_TOLERANCE = 1e-12


def spectral_radius(matrix: FloatArray) -> float:
    """Largest absolute value of the eigenvalues."""
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def unmoved_modes(A: FloatArray, B: FloatArray) -> npt.NDArray[Any]:
    """Modes of A that do not decay, or by less than 1e-9 a step, and that the input does not move (Hautus test).

    They are the eigenvalues lambda of A, abs(lambda) >= 1 - 1e-9, with rank [A - lambda I, B] < n; the pair is
    stabilizable if none of them lies on or outside the unit circle. Of (A', C') they are the modes that the output C
    does not show.

    :param A: Dynamics, shape (n, n); sqrt(gamma) A for a discounted problem.
    :param B: Input matrix, shape (n, any).
    :return: The eigenvalues.
    """
    balanced, scaling = matrix_balance(A, permute=False)  # the numerical rank would depend on the states' units
    moved, n, scale = B / np.diag(scaling)[:, None], len(A), np.abs(balanced).max()
    largest = np.abs(moved).max(axis=0)
    moved = moved / np.where(largest > 0.0, largest, 1.0)

    modes = np.linalg.eigvals(balanced)
    modes = modes[np.abs(modes) >= 1.0 - MARGIN]
    pencils = (np.hstack([(balanced - mode * np.eye(n)) / scale, moved]) for mode in modes)
    ranks = np.array([np.linalg.matrix_rank(pencil, RANK_TOLERANCE) for pencil in pencils])
    return np.asarray(modes[ranks < n])


def q_matrix(A: FloatArray, B: FloatArray, cost: FloatArray, gamma: float, P: FloatArray) -> FloatArray:
    """Matrix M of z'Mz, z = (x, u): one step's cost plus the discounted x'Px of the next state, without noise.

    :param A: Dynamics, shape (n, n).
    :param B: Input matrix, shape (n, m).
    :param cost: Cost of one step, [[Q, N], [N', R]], shape (n + m, n + m).
    :param gamma: Discount factor.
    :param P: Shape (n, n).
    :return: M = cost + gamma [A B]' P [A B], shape (n + m, n + m), symmetric.
    """
    step = np.hstack([A, B])
    M = cost + gamma * step.T @ P @ step
    return np.asarray(0.5 * (M + M.T))


def solve_riccati(A: FloatArray, B: FloatArray, cost: FloatArray, gamma: float) -> FloatArray:
    """Stabilising solution of the Riccati equation of (sqrt(gamma) A, sqrt(gamma) B, Q, R, N).

    P = Q + gamma A'PA - (gamma A'PB + N) (R + gamma B'PB)^-1 (gamma B'PA + N'). Arguments are those of
    :func:`q_matrix`.

    :return: P, shape (n, n), symmetric.
    :raises ValueError: If the problem is not stabilizable or not detectable, or no accurate solution is found.
    """
    n, root = len(A), np.sqrt(gamma)
    # P does not depend on the inputs' units: R gets a diagonal of about 1, by powers of 2, which are exact
    unit = np.exp2(-np.round(0.5 * np.log2(np.diag(cost)[n:])))
    units = np.concatenate([np.ones(n), unit])
    B, cost = B * unit, cost * np.outer(units, units)
    R, N = cost[n:, n:], cost[:n, n:]
    unmoved = np.abs(unmoved_modes(root * A, root * B))
    if (unmoved >= 1.0).any():
        raise ValueError(
            "A, B must be stabilizable: an input must reach every mode that sqrt(gamma) A does not damp, "
            f"got one of modulus {unmoved.max():.6g} that none reaches, with gamma = {gamma}"
        )
    if len(unmoved) > 0:
        warnings.warn(
            "A, B have a mode that no input reaches and that sqrt(gamma) A damps by "
            f"{1.0 - unmoved.max():.2g} a step only: values are huge, and lose as many digits",
            stacklevel=3,
        )
    gain = np.linalg.solve(R, N.T)
    seen, scale = cost[:n, :n] - N @ gain, np.sqrt(np.diag(cost)[:n])
    seen[np.abs(seen) <= RANK_TOLERANCE * np.outer(scale, scale)] = 0.0  # what rounding leaves of a zero
    unseen = np.abs(unmoved_modes(root * (A - B @ gain).T, seen))
    if (unseen >= 1.0).any():
        raise ValueError(
            "Q, N must make the problem detectable: what they do not see must decay by itself, but "
            f"sqrt(gamma) (A - B R^-1 N') has a mode of modulus {unseen.max():.6g} that costs nothing"
        )
    name = "A, B, Q, R, N, gamma must have a stabilising solution of the Riccati equation"
    try:
        P = np.asarray(solve_discrete_are(root * A, root * B, cost[:n, :n], R, s=N), np.float64)
        P = 0.5 * (P + P.T)
        M = q_matrix(A, B, cost, gamma, P)
        K = np.linalg.solve(M[n:, n:], M[n:, :n])
        L, F = np.vstack([np.eye(n), -K]), root * (A - B @ K)
        residual = np.abs(L.T @ cost @ L + F.T @ P @ F - P).max() / max(np.abs(P).max(), np.finfo(np.float64).tiny)
        stable = spectral_radius(F) < 1.0
    except (LinAlgError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    if not (residual <= 1e-7 and stable):
        raise ValueError(
            f"{name} that double precision can find, got a relative residual of {residual:.2g}; rescale the problem"
        )
    return P


def discounted_sum(F: FloatArray, start: FloatArray, gamma: float) -> FloatArray:
    """The sum X of gamma^k F^k start F'^k over k, which solves X = start + gamma F X F'; start and X are symmetric.

    By doubling (Smith 1968), whose accuracy does not depend on units: the terms of 2^k steps give those of 2^(k+1).
    sqrt(gamma) times the spectral radius of F must be under 1, which the caller checks.
    """
    power, X = np.sqrt(gamma) * F, start
    for _ in range(100):  # float64's radius closest to 1 needs 63
        X, shorter, power = X + power @ X @ power.T, X, power @ power
        if np.array_equal(X, shorter):
            break
    return np.asarray(0.5 * (X + X.T))


def square_root(covariance: FloatArray) -> FloatArray:
    """The symmetric L with L L' = covariance, also of a singular covariance (where Cholesky fails)."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.clip(eigenvalues, 0.0, None))) @ vectors.T)


def quadratic_form(matrix: FloatArray, vectors: FloatArray) -> FloatArray:
    """x'Mx for each vector x of a batch, shapes (q, q) and (..., q) to (...)."""
    return np.asarray(((vectors @ matrix) * vectors).sum(-1))
