"""Soft policy iteration by hand, and what it refuses; Lemma 1 itself is in test_theorems.py."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_problems import output_problems

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


@settings(max_examples=25, deadline=None)
@given(problem=output_problems(4), share=st.floats(0.5, 1.0))
def test_goes_to_the_optimum_of_a_singular_cost_with_a_cross_term(problem, share):
    optimum = problem.solve(0.3)
    try:
        iterates = problem.soft_policy_iteration(0.3, share * optimum.K, np.eye(problem.n_inputs))
    except ValueError:
        assume(False)  # so small a share of the gain does not stabilise the problem
    returns = [iterate.expected_soft_return() for iterate in itertools.islice(iterates, 12)]
    assert (np.diff(returns) >= -1e-8 * np.abs(returns[1:]) - 1e-10).all()
    np.testing.assert_allclose(next(iterates).K, optimum.K, rtol=1e-6, atol=1e-8)
    assert returns[-1] == pytest.approx(optimum.expected_soft_return(), rel=1e-6)


def test_gains_stable_only_after_discounting_are_accepted():
    """rho(A - BK) = 1.02 > 1, yet 0.95 * 1.02^2 < 1."""
    problem = LQRProblem(A=[[1.02]], B=[[0.5]], Q=[[1.0]], R=[[0.2]])
    first = next(problem.soft_policy_iteration(0.1, [[0.0]], [[1.0]]))
    assert first.P[0, 0] == pytest.approx(1.0 / (1.0 - 0.95 * 1.02**2))


@pytest.mark.parametrize(
    ("K", "Sigma", "alpha", "message"),
    [
        (np.zeros((2, 2)), np.eye(2), 0.5, r"K must stabilise the problem: .* must be under 1, got 1\.07"),
        ([[1.0, 0.0]], np.eye(2), 0.5, r"K must have shape \(2, 2\), got shape"),
        (np.eye(2), [[1.0, 0.0], [0.0, -1.0]], 0.5, "Sigma must be positive definite"),
        (np.eye(2), np.eye(2), -0.5, "alpha must lie in .*, got -0.5"),
    ],
)
def test_refuses_at_the_call(K, Sigma, alpha, message):
    with pytest.raises(ValueError, match=message):
        maxent_envs.preset("unstable").soft_policy_iteration(alpha, K, Sigma)
