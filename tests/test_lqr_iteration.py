"""Soft policy iteration: each iterate satisfies its own Bellman equation, and the sequence converges quadratically."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maxent_envs
from maxent_envs import LQRProblem


def normal_quadrature(covariance, order=6):
    """Gauss-Hermite nodes, shape (k, d), and weights under N(0, covariance)."""
    node, weight = np.polynomial.hermite_e.hermegauss(order)
    dimension = len(covariance)
    nodes = np.stack([axis.ravel() for axis in np.meshgrid(*[node] * dimension)], axis=-1)
    weights = np.prod([axis.ravel() for axis in np.meshgrid(*[weight] * dimension)], axis=0)
    return nodes @ np.linalg.cholesky(covariance).T, weights / weights.sum()


@pytest.mark.parametrize("name", ["default", "scalar", "unstable"])
def test_each_iterate_satisfies_its_own_bellman_equation(name):
    """Q(x, u) = r + gamma E[Q(x', u') - alpha log pi(u'|x')], both expectations by quadrature."""
    problem, alpha, rng = maxent_envs.preset(name), 0.5, np.random.default_rng(0)
    K0 = 0.8 * problem.solve(alpha).K
    noise, noise_weights = normal_quadrature(problem.noise_cov)
    for iterate in itertools.islice(problem.soft_policy_iteration(alpha, K0, np.eye(problem.n_inputs)), 4):
        explored, action_weights = normal_quadrature(iterate.Sigma)
        x, u = rng.standard_normal(problem.n_states), rng.standard_normal(problem.n_inputs)
        ahead = problem.A @ x + problem.B @ u + noise
        actions = iterate.mean(ahead)[:, None, :] + explored
        soft = iterate.q_value(ahead[:, None, :], actions) - alpha * iterate.log_prob(ahead[:, None, :], actions)
        target = -(x @ problem.Q @ x) - u @ problem.R @ u + problem.gamma * noise_weights @ soft @ action_weights
        assert iterate.q_value(x, u) == pytest.approx(target, rel=1e-10)
        np.testing.assert_allclose(iterate.value(ahead), soft @ action_weights, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 5), m=st.integers(1, 3), seed=st.integers(0, 1000), alpha=st.sampled_from([0.1, 1.0]))
def test_converges_and_never_gets_worse(n, m, seed, alpha):
    problem = maxent_envs.random_problem(n, m, seed, spectral_radius=0.95)
    optimum = problem.solve(alpha)
    iterates = list(itertools.islice(problem.soft_policy_iteration(alpha, np.zeros((m, n)), np.eye(m)), 9))
    errors = np.array([np.linalg.norm(iterate.K - optimum.K) for iterate in iterates])
    assert errors[-1] <= 1e-8 * max(1.0, np.linalg.norm(optimum.K))
    np.testing.assert_allclose(iterates[-1].Sigma, optimum.Sigma, rtol=1e-7, atol=1e-12)
    returns = np.array([iterate.expected_soft_return() for iterate in iterates])
    assert (np.diff(returns) >= -1e-9 * np.abs(returns[1:])).all()
    assert returns[-1] == pytest.approx(optimum.expected_soft_return())


def test_convergence_is_quadratic():
    """The order estimated from three errors in a row, (log e3 - log e2) / (log e2 - log e1), approaches 2."""
    problem = maxent_envs.preset()
    iterates = itertools.islice(problem.soft_policy_iteration(0.5, np.zeros((2, 2)), np.eye(2)), 5)
    logs = np.log([np.linalg.norm(iterate.K - problem.solve(0.5).K) for iterate in iterates])
    orders = np.diff(logs)[1:] / np.diff(logs)[:-1]
    assert 1.8 < orders[-1] < 2.2 and logs[-1] < np.log(1e-6)


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
