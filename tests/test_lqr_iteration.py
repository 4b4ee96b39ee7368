"""Soft policy iteration by hand, and what it refuses; Lemma 1 itself is in test_theorems.py."""

import itertools

import numpy as np
import pytest

import maxent_envs
from maxent_envs import LQRProblem


def test_one_improvement_by_hand():
    """The scalar case: P by the geometric series, the new policy by completing the square."""
    problem = LQRProblem(A=[[0.9]], B=[[0.5]], Q=[[1.0]], R=[[0.2]], gamma=0.9)
    first, second = itertools.islice(problem.soft_policy_iteration(0.3, [[0.4]], [[2.0]]), 2)
    P = (1.0 + 0.4 * 0.2 * 0.4) / (1.0 - 0.9 * (0.9 - 0.5 * 0.4) ** 2)
    G = 0.2 + 0.9 * 0.5 * P * 0.5
    assert first.P[0, 0] == pytest.approx(P) and first.K[0, 0] == 0.4 and first.Sigma[0, 0] == 2.0
    assert second.K[0, 0] == pytest.approx(0.9 * 0.5 * P * 0.9 / G)
    assert second.Sigma[0, 0] == pytest.approx(0.15 / G)


def test_gains_stable_only_after_discounting_are_accepted():
    """rho(A - BK) = 1.02 > 1, yet 0.95 * 1.02^2 < 1."""
    problem = LQRProblem(A=[[1.02]], B=[[0.5]], Q=[[1.0]], R=[[0.2]])
    first = next(problem.soft_policy_iteration(0.1, [[0.0]], [[1.0]]))
    assert first.P[0, 0] == pytest.approx(1.0 / (1.0 - 0.95 * 1.02**2))


@pytest.mark.parametrize(
    ("K0", "Sigma0", "alpha", "message"),
    [
        (np.zeros((2, 2)), np.eye(2), 0.5, r"K must stabilise the problem: .* must be under 1, got 1\.07"),
        ([[1.0, 0.0]], np.eye(2), 0.5, "K must be a matrix of shape 2 x 2, got shape"),
        (np.eye(2), [[1.0, 0.0], [0.0, -1.0]], 0.5, "Sigma must be positive definite"),
        (np.eye(2), np.eye(2), -0.5, "alpha must be positive"),
    ],
)
def test_refuses_at_the_call(K0, Sigma0, alpha, message):
    with pytest.raises(ValueError, match=rf"K0, Sigma0, alpha .*{message}"):
        maxent_envs.preset("unstable").soft_policy_iteration(alpha, K0, Sigma0)
