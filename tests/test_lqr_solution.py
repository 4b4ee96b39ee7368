"""The closed forms against dynamic programming, scipy and simulation; Theorem 3 itself is in test_theorems.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_problems import alphas, output_problems, problems, with_output
from scipy.linalg import solve_discrete_are, solve_discrete_lyapunov
from scipy.stats import multivariate_normal

import maxent_envs
from maxent_envs import LQRProblem

ANY_PROBLEM = problems(5) | output_problems(5)


@settings(max_examples=40, deadline=None)
@given(problem=ANY_PROBLEM, alpha=alphas)
def test_optimum_is_the_limit_of_dynamic_programming(problem, alpha):
    """Soft value iteration from V = 0, completing the square by hand in each step."""
    P, constant, gamma, change = np.zeros_like(problem.A), 0.0, problem.gamma, 1.0
    for _ in range(20_000):
        G = problem.R + gamma * problem.B.T @ P @ problem.B
        cross = gamma * problem.B.T @ P @ problem.A + problem.N.T
        log_integral = 0.5 * np.linalg.slogdet(np.pi * alpha * np.linalg.inv(G))[1]
        before = P, constant
        constant = alpha * log_integral + gamma * (constant - np.trace(P @ problem.noise_cov))
        P = problem.Q + gamma * problem.A.T @ P @ problem.A - cross.T @ np.linalg.solve(G, cross)
        P = 0.5 * (P + P.T)  # rounding would grow in the antisymmetric part
        change = np.abs(P - before[0]).max() / np.abs(P).max() + abs(constant - before[1]) / (1.0 + abs(constant))
        if change < 1e-13:
            break
    solution = problem.solve(alpha)
    np.testing.assert_allclose(solution.P, P, rtol=1e-6, atol=1e-7 * np.abs(P).max())
    np.testing.assert_allclose(solution.K, np.linalg.solve(G, cross), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(solution.Sigma, 0.5 * alpha * np.linalg.inv(G), rtol=1e-6, atol=1e-12)
    assert solution.value_constant == pytest.approx(constant, rel=1e-6, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(problem=ANY_PROBLEM)
def test_optimum_is_scipys(problem):
    root = np.sqrt(problem.gamma)
    A, B = root * problem.A, root * problem.B
    P = solve_discrete_are(A, B, problem.Q, problem.R, s=problem.N)
    K = np.linalg.solve(problem.R + B.T @ P @ B, B.T @ P @ A + problem.N.T)
    solution = problem.solve(1.0)
    np.testing.assert_allclose(solution.P, P, rtol=1e-8, atol=1e-8 * np.abs(P).max())
    np.testing.assert_allclose(solution.K, K, rtol=1e-7, atol=1e-8)
    cost = problem.Q + K.T @ problem.R @ K - problem.N @ K - K.T @ problem.N.T
    F = root * solution.closed_loop
    np.testing.assert_allclose(solve_discrete_lyapunov(F.T, cost), P, rtol=1e-6, atol=1e-7 * np.abs(P).max())


def test_the_commonest_textbook_cost():
    """A double integrator whose position alone costs, Q = C'C."""
    A, B, Q, R, gamma = np.array([[1, 0.1], [0, 1]]), np.array([[0.005], [0.1]]), np.diag([1.0, 0]), [[0.1]], 0.99
    problem = LQRProblem(A, B, Q, R, gamma=gamma)
    P = solve_discrete_are(gamma**0.5 * A, gamma**0.5 * B, Q, R)
    np.testing.assert_allclose(problem.solve(0.1).P, P, rtol=1e-8)
    assert np.isfinite(maxent_envs.derived_action_bound(problem, 1.0)).all()


@settings(max_examples=20, deadline=None)
@given(problem=ANY_PROBLEM, alpha=alphas)
def test_known_identities(problem, alpha):
    solution = problem.solve(alpha)
    G = problem.R + problem.gamma * problem.B.T @ solution.P @ problem.B
    assert np.trace(G @ solution.Sigma) == pytest.approx(alpha * problem.n_inputs / 2.0)
    free = problem.solve(1e-12).expected_return()
    assert free - solution.expected_return() == pytest.approx(
        alpha * problem.n_inputs / (2 * (1 - problem.gamma)), rel=1e-6
    )
    diagonal = problem.evaluate(alpha, solution.K, np.diag(0.5 * alpha / np.diag(G)))
    assert diagonal.expected_return() == pytest.approx(solution.expected_return(), rel=1e-9)
    gap = alpha / (2 * (1 - problem.gamma)) * (np.log(np.diag(G)).sum() - np.linalg.slogdet(G)[1])
    lost = solution.expected_soft_return() - diagonal.expected_soft_return()
    assert lost == pytest.approx(gap, rel=1e-6, abs=1e-8 * abs(solution.expected_soft_return()))
    start = -np.trace(solution.P @ problem.initial_cov)
    assert solution.expected_soft_return() == pytest.approx(start + solution.value_constant)


@settings(max_examples=20, deadline=None)
@given(problem=ANY_PROBLEM, alpha=alphas, seed=st.integers(0, 1000))
def test_density_entropy_and_shapes(problem, alpha, seed):
    solution, rng = problem.solve(alpha), np.random.default_rng(seed)
    x = rng.standard_normal((4, 3, problem.n_states))
    u = solution.sample(x, rng)
    assert u.shape == (4, 3, problem.n_inputs)
    for index in np.ndindex(4, 3):
        oracle = multivariate_normal(-solution.K @ x[index], solution.Sigma)
        assert solution.log_prob(x, u)[index] == pytest.approx(oracle.logpdf(u[index]), rel=1e-8, abs=1e-8)
    assert solution.entropy == pytest.approx(oracle.entropy())
    assert solution.value(x).shape == solution.q_value(x, u).shape == (4, 3)
    # V(x) = Q(x, u) - alpha log pi(u|x) for every action of the optimum.
    soft = solution.q_value(x, u) - alpha * solution.log_prob(x, u)
    np.testing.assert_allclose(soft, solution.value(x), rtol=1e-7, atol=1e-7)
    repeated = np.broadcast_to(x[0, 0], (3, problem.n_states))
    np.testing.assert_allclose(solution.log_prob(x[0, 0], u[0]), solution.log_prob(repeated, u[0]), rtol=1e-12)


def test_samples_have_the_mean_and_covariance():
    solution = maxent_envs.preset().solve(0.5)
    x = np.array([1.0, -2.0])
    u = solution.sample(np.broadcast_to(x, (200_000, 2)), np.random.default_rng(0))
    np.testing.assert_allclose(u.mean(axis=0), -solution.K @ x, atol=0.01)
    np.testing.assert_allclose(np.cov(u.T), solution.Sigma, atol=0.01)


@pytest.mark.parametrize("name", ["default", "unstable", "six-state", "with output"])
def test_finite_returns_agree_with_simulation(name):
    """Both returns over 30 steps within four standard errors of a plain simulation."""
    preset = maxent_envs.preset("six-state" if name == "with output" else name)
    problem, horizon, runs = with_output(preset, 2, 0) if name == "with output" else preset, 30, 20_000
    solution, rng = problem.solve(0.5), np.random.default_rng(0)
    x = rng.multivariate_normal(np.zeros(problem.n_states), problem.initial_cov, size=runs)
    plain, soft = np.zeros(runs), np.zeros(runs)
    for k in range(horizon):
        u = rng.multivariate_normal(np.zeros(problem.n_inputs), solution.Sigma, size=runs) - x @ solution.K.T
        reward = -((x @ problem.Q) * x).sum(axis=1) - ((u @ problem.R) * u).sum(axis=1)
        reward -= 2.0 * ((x @ problem.N) * u).sum(axis=1)
        plain += problem.gamma**k * reward
        soft += problem.gamma**k * (reward - 0.5 * solution.log_prob(x, u))
        x = x @ problem.A.T + u @ problem.B.T
        x += rng.multivariate_normal(np.zeros(problem.n_states), problem.noise_cov, size=runs)
    for total, closed in ((plain, solution.expected_return(horizon)), (soft, solution.expected_soft_return(horizon))):
        assert abs(total.mean() - closed) <= 4.0 * total.std() / np.sqrt(runs)


@settings(max_examples=20, deadline=None)
@given(problem=ANY_PROBLEM, alpha=alphas)
def test_returns_of_long_horizons_approach_the_infinite_one(problem, alpha):
    solution = problem.solve(alpha)
    horizon = int(40 / (1.0 - problem.gamma))
    assert solution.expected_return(horizon) == pytest.approx(solution.expected_return(), rel=1e-5)
    assert solution.expected_soft_return(horizon) == pytest.approx(solution.expected_soft_return(), rel=1e-5, abs=1e-5)
    first = -np.trace(problem.Q @ problem.initial_cov)
    moment = solution.K @ problem.initial_cov @ solution.K.T + solution.Sigma
    cross = np.trace(problem.N @ solution.K @ problem.initial_cov)
    assert solution.expected_return(1) == pytest.approx(first - np.trace(problem.R @ moment) + 2.0 * cross)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.problem.solve(0.0), "alpha must lie in .*, got 0.0"),
        (lambda s: s.problem.solve("auto"), "alpha must lie in .*, got 'auto'"),
        (lambda s: s.value([1.0]), r"x must have shape \(\.\.\., 2\), got shape \(1,\)"),
        (lambda s: s.value([1.0, np.nan]), "x must be finite"),
        (lambda s: s.q_value([1.0, 1.0], [[1.0]]), r"u must have shape \(..., 2\)"),
        (lambda s: s.q_value([1.0], [1.0, 1.0]), r"x must have shape \(\.\.\., 2\), got shape \(1,\)"),
        (lambda s: s.mean([[1.0, 1.0, 1.0]]), r"x must have shape \(..., 2\), got shape \(1, 3\)"),
        (lambda s: s.sample([1.0], np.random.default_rng(0)), r"x must have shape \(\.\.\., 2\), got shape \(1,\)"),
        (lambda s: s.log_prob(1.0, [1.0, 1.0]), r"x must have shape \(..., 2\), got shape \(\)"),
        (lambda s: s.log_prob([1.0, 1.0], 1.0), r"u must have shape \(..., 2\), got shape \(\)"),
        (lambda s: s.expected_return(0), "horizon must be an integer of at least 1, got 0"),
        (lambda s: s.expected_return(2.5), "horizon must be an integer of at least 1, got 2.5"),
        (lambda s: s.expected_soft_return(-1), "horizon must be an integer of at least 1, got -1"),
        (lambda s: s.problem.evaluate(-1.0, s.K, s.Sigma), "alpha must lie in .*, got -1.0"),
        (lambda s: s.problem.evaluate(1.0, s.K[:1], s.Sigma), r"K must have shape \(2, 2\), got shape \(1, 2\)"),
        (lambda s: s.problem.evaluate(1.0, s.K, -s.Sigma), "Sigma must be positive definite"),
        (lambda s: s.problem.evaluate(1.0, -3.0 * s.K, s.Sigma), "K must stabilise the problem"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(maxent_envs.preset().solve(1.0))


def test_solution_is_read_only():
    solution = maxent_envs.preset().solve(1.0)
    for array in (solution.K, solution.P, solution.Sigma):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1.0


def test_scalar_problem_by_the_quadratic_formula():
    """gamma B^2 P^2 + (R - gamma (A^2 R + B^2 Q)) P - Q R = 0 for one state and one input."""
    a, b, q, r, gamma, alpha = 1.3, 0.7, 2.0, 0.4, 0.9, 0.25
    middle = r - gamma * (a * a * r + b * b * q)
    P = (-middle + np.sqrt(middle**2 + 4.0 * gamma * b * b * q * r)) / (2.0 * gamma * b * b)
    solution = LQRProblem(A=[[a]], B=[[b]], Q=[[q]], R=[[r]], gamma=gamma).solve(alpha)
    G = r + gamma * b * b * P
    assert solution.P[0, 0] == pytest.approx(P)
    assert solution.K[0, 0] == pytest.approx(gamma * a * b * P / G)
    assert solution.Sigma[0, 0] == pytest.approx(alpha / (2.0 * G))
