"""Matrix equations of discounted linear-quadratic control; plain functions of plain matrices."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, solve_discrete_are, solve_discrete_lyapunov

from maxent_envs.validation import FloatArray


def spectral_radius(matrix: FloatArray) -> float:
    """Largest absolute value of the eigenvalues.

    :param matrix: Square matrix.
    :return: The spectral radius.
    """
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def is_stabilizable(A: FloatArray, B: FloatArray) -> bool:
    """Hautus test: every mode of A that does not decay by itself can be moved by the input.

    rank [A - lambda I, B] = n for each eigenvalue lambda of A with abs(lambda) >= 1.

    :param A: Dynamics, shape (n, n); pass sqrt(gamma) A for a discounted problem.
    :param B: Input matrix, shape (n, m).
    :return: Whether the pair is stabilizable.
    """
    n = A.shape[0]
    persistent = [eigenvalue for eigenvalue in np.linalg.eigvals(A) if abs(eigenvalue) >= 1.0]
    pencils = [np.hstack([_unit_scale(A - eigenvalue * np.eye(n)), _unit_scale(B)]) for eigenvalue in persistent]
    return all(np.linalg.matrix_rank(pencil) == n for pencil in pencils)


def _unit_scale(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # The rank does not depend on the units of state and input, the numerical one would.
    largest = np.abs(matrix).max()
    return np.asarray(matrix / largest if largest > 0.0 else matrix)


def solve_riccati(A: FloatArray, B: FloatArray, Q: FloatArray, R: FloatArray, gamma: float) -> FloatArray:
    """Stabilising solution of the discounted Riccati equation.

    P = Q + gamma A'PA - gamma^2 A'PB (R + gamma B'PB)^-1 B'PA, the algebraic Riccati equation of
    (sqrt(gamma) A, sqrt(gamma) B, Q, R).

    :param A: Dynamics, shape (n, n).
    :param B: Input matrix, shape (n, m).
    :param Q: State cost, shape (n, n).
    :param R: Input cost, shape (m, m).
    :param gamma: Discount factor.
    :return: P, shape (n, n), symmetric.
    :raises ValueError: If no accurate stabilising solution is found.
    """
    root = np.sqrt(gamma)
    try:
        P = np.asarray(solve_discrete_are(root * A, root * B, Q, R), dtype=np.float64)
        P = 0.5 * (P + P.T)
        K = greedy_gain(A, B, R, gamma, P)
        cost = Q + K.T @ R @ K
        residual = np.abs(cost + gamma * (A - B @ K).T @ P @ (A - B @ K) - P).max()
        accurate = residual <= 1e-7 * np.abs(P).max() and spectral_radius(root * (A - B @ K)) < 1.0
    except (LinAlgError, ValueError) as error:
        raise ValueError(
            f"A, B, Q, R, gamma must have a stabilising solution of the Riccati equation: {error}"
        ) from error
    if not accurate:
        raise ValueError(
            "A, B, Q, R, gamma must have a stabilising solution of the Riccati equation that double precision can "
            f"find, got a relative residual of {residual / np.abs(P).max():.2g}; rescale the problem"
        )
    return P


def action_curvature(B: FloatArray, R: FloatArray, gamma: float, P: FloatArray) -> FloatArray:
    """Curvature G = R + gamma B'PB of minus the soft Q-function in the action.

    :param B: Input matrix, shape (n, m).
    :param R: Input cost, shape (m, m).
    :param gamma: Discount factor.
    :param P: Matrix of the quadratic value, shape (n, n).
    :return: G, shape (m, m).
    """
    return R + gamma * B.T @ P @ B


def greedy_gain(A: FloatArray, B: FloatArray, R: FloatArray, gamma: float, P: FloatArray) -> FloatArray:
    """Gain K = gamma G^-1 B'PA of the action u = -K x that maximises the soft Q-function.

    :param A: Dynamics, shape (n, n).
    :param B: Input matrix, shape (n, m).
    :param R: Input cost, shape (m, m).
    :param gamma: Discount factor.
    :param P: Matrix of the quadratic value, shape (n, n).
    :return: K, shape (m, n).
    """
    return np.asarray(gamma * np.linalg.solve(action_curvature(B, R, gamma, P), B.T @ P @ A))


def discounted_sum(F: FloatArray, start: FloatArray, gamma: float) -> FloatArray:
    """Solve X = start + gamma F X F' (the sum of gamma^k F^k start F'^k).

    :param F: Square matrix with sqrt(gamma) times its spectral radius under 1, which the caller checks: the solver
        returns an indefinite matrix otherwise without a word.
    :param start: Symmetric matrix of the same size.
    :param gamma: Discount factor, 1 for the undiscounted sum.
    :return: X, symmetric.
    """
    X = np.asarray(solve_discrete_lyapunov(np.sqrt(gamma) * F, start), dtype=np.float64)
    return 0.5 * (X + X.T)


def square_root(covariance: FloatArray) -> FloatArray:
    """A factor L with L L' = covariance, also of a singular covariance (where Cholesky fails).

    :param covariance: Symmetric positive semidefinite matrix.
    :return: L, of the same shape: the symmetric square root.
    """
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.clip(eigenvalues, 0.0, None))) @ vectors.T)


def transform(matrix: FloatArray, vectors: FloatArray) -> FloatArray:
    """Apply a matrix to each vector of a batch.

    The sum runs in the same order for one vector as for many, so that the batched environment equals the single
    one to the last bit; matrix products of BLAS promise no such thing.

    :param matrix: Shape (p, q).
    :param vectors: Shape (..., q).
    :return: Shape (..., p).
    """
    return np.asarray(np.einsum("...j,ij->...i", vectors, matrix))


def quadratic_form(matrix: FloatArray, vectors: FloatArray) -> FloatArray:
    """x'Mx for each vector x of a batch.

    :param matrix: Shape (q, q).
    :param vectors: Shape (..., q).
    :return: Shape (...).
    """
    return np.asarray(np.einsum("...i,...i->...", transform(matrix, vectors), vectors))
