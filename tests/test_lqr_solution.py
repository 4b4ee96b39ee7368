"""The closed forms against oracles that do not share their algebra: dynamic programming, quadrature, scipy, simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import maxent_envs
from maxent_envs import LQRProblem

problems = st.builds(
    maxent_envs.random_problem,
    n_states=st.integers(1, 5),
    n_inputs=st.integers(1, 3),
    seed=st.integers(0, 10_000),
    spectral_radius=st.floats(0.3, 1.2),
    gamma=st.sampled_from([0.5, 0.9, 0.95]),
)
alphas = st.sampled_from([0.02, 0.1, 0.5, 2.0])


def normal_quadrature(mean, covariance, order=12):
    """Nodes, shape (k, d), and weights of Gauss-Hermite quadrature under N(mean, covariance)."""
    node, weight = np.polynomial.hermite_e.hermegauss(order)
    dimension = len(mean)
    nodes = np.stack([axis.ravel() for axis in np.meshgrid(*[node] * dimension)], axis=-1)
    weights = np.prod([axis.ravel() for axis in np.meshgrid(*[weight] * dimension)], axis=0)
    return mean + nodes @ np.linalg.cholesky(covariance).T, weights / weights.sum()


def action_grid(mean, covariance, points=101):
    """A grid of ten standard deviations about the mean, shape (k, d), and its cell volume."""
    axes = [np.linspace(c - 10.0 * s, c + 10.0 * s, points) for c, s in zip(mean, np.sqrt(np.diag(covariance)), strict=True)]
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=-1), cell


def q_by_quadrature(problem, value, x, u):
    """r(x, u) + gamma E_w V(Ax + Bu + w), u of shape (k, m), the expectation by quadrature."""
    noise, weights = normal_quadrature(np.zeros(problem.n_states), problem.noise_cov, order=6)
    ahead = problem.A @ x + u @ problem.B.T
    reward = -(x @ problem.Q @ x) - np.einsum("ki,ij,kj->k", u, problem.R, u)
    return reward + problem.gamma * value(ahead[:, None, :] + noise) @ weights


@pytest.mark.parametrize("name", ["default", "scalar", "unstable"])
@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_optimum_satisfies_the_soft_bellman_equation(name, alpha):
    """V = alpha log integral exp(Q / alpha) and pi = exp((Q - V) / alpha), integrals by quadrature."""
    problem = maxent_envs.preset(name)
    solution = problem.solve(alpha)
    for x in np.random.default_rng(0).normal(scale=2.0, size=(3, problem.n_states)):
        actions, cell = action_grid(solution.mean(x), solution.Sigma)
        q = q_by_quadrature(problem, solution.value, x, actions)
        np.testing.assert_allclose(solution.q_value(x, actions), q, rtol=1e-9, atol=1e-9)
        value = q.max() + alpha * np.log(np.exp((q - q.max()) / alpha).sum() * cell)
        assert abs(value - solution.value(x)) <= 1e-8
        np.testing.assert_allclose(solution.log_prob(x, actions), (q - value) / alpha, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(problem=problems, alpha=alphas)
def test_optimum_is_the_limit_of_dynamic_programming(problem, alpha):
    """Soft value iteration from V = 0, completing the square by hand in each step."""
    P, constant, gamma = np.zeros_like(problem.A), 0.0, problem.gamma
    for _ in range(int(40 / (1.0 - gamma))):
        G = problem.R + gamma * problem.B.T @ P @ problem.B
        cross = gamma * problem.B.T @ P @ problem.A
        log_integral = 0.5 * np.linalg.slogdet(np.pi * alpha * np.linalg.inv(G))[1]
        constant = alpha * log_integral + gamma * (constant - np.trace(P @ problem.noise_cov))
        P = problem.Q + gamma * problem.A.T @ P @ problem.A - cross.T @ np.linalg.solve(G, cross)
        P = 0.5 * (P + P.T)  # rounding would grow in the antisymmetric part
    solution = problem.solve(alpha)
    np.testing.assert_allclose(solution.P, P, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(solution.K, np.linalg.solve(G, cross), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(solution.Sigma, 0.5 * alpha * np.linalg.inv(G), rtol=1e-6)
    assert solution.value_constant == pytest.approx(constant, rel=1e-6, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(problem=problems, alpha=alphas, seed=st.integers(0, 1000))
def test_no_neighbour_has_a_higher_soft_return(problem, alpha, seed):
    solution, rng = problem.solve(alpha), np.random.default_rng(seed)
    direction = rng.standard_normal(solution.K.shape)
    shape = rng.standard_normal(solution.Sigma.shape)
    size = 1e-3 * np.linalg.norm(solution.Sigma, 2)

    def soft_return(step):
        factor = np.eye(problem.n_inputs) + step * 1e-3 * (shape + shape.T)
        return problem.evaluate(alpha, solution.K + step * size * direction, factor @ solution.Sigma @ factor.T)

    best, up, down = (soft_return(step).expected_soft_return() for step in (0.0, 1.0, -1.0))
    assert best == pytest.approx(solution.expected_soft_return(), rel=1e-9)
    assert up <= best + 1e-9 * abs(best) and down <= best + 1e-9 * abs(best)
    assert abs(up - down) <= 0.1 * abs(up + down - 2.0 * best) + 1e-9 * abs(best)


@settings(max_examples=20, deadline=None)
@given(problem=problems, alpha=alphas)
def test_known_identities(problem, alpha):
    solution = problem.solve(alpha)
    G = problem.R + problem.gamma * problem.B.T @ solution.P @ problem.B
    assert np.trace(G @ solution.Sigma) == pytest.approx(alpha * problem.n_inputs / 2.0)
    free = problem.solve(1e-12).expected_return()
    assert free - solution.expected_return() == pytest.approx(alpha * problem.n_inputs / (2 * (1 - problem.gamma)), rel=1e-6)
    diagonal = problem.evaluate(alpha, solution.K, np.diag(0.5 * alpha / np.diag(G)))
    assert diagonal.expected_return() == pytest.approx(solution.expected_return(), rel=1e-9)
    gap = alpha / (2 * (1 - problem.gamma)) * (np.log(np.diag(G)).sum() - np.linalg.slogdet(G)[1])
    lost = solution.expected_soft_return() - diagonal.expected_soft_return()
    assert lost == pytest.approx(gap, rel=1e-6, abs=1e-8 * abs(solution.expected_soft_return()))
    start = -np.trace(solution.P @ problem.initial_cov)
    assert solution.expected_soft_return() == pytest.approx(start + solution.value_constant)


@settings(max_examples=20, deadline=None)
@given(problem=problems, alpha=alphas, seed=st.integers(0, 1000))
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
    np.testing.assert_array_equal(solution.log_prob(x[0, 0], u[0]), solution.log_prob(repeated, u[0]))


def test_samples_have_the_mean_and_covariance():
    solution = maxent_envs.preset().solve(0.5)
    x = np.array([1.0, -2.0])
    u = solution.sample(np.broadcast_to(x, (200_000, 2)), np.random.default_rng(0))
    np.testing.assert_allclose(u.mean(axis=0), -solution.K @ x, atol=0.01)
    np.testing.assert_allclose(np.cov(u.T), solution.Sigma, atol=0.01)


@pytest.mark.parametrize("name", ["default", "unstable", "six-state"])
def test_finite_returns_agree_with_simulation(name):
    """Both returns over 30 steps within four standard errors of a plain simulation."""
    problem, horizon, runs = maxent_envs.preset(name), 30, 20_000
    solution, rng = problem.solve(0.5), np.random.default_rng(0)
    x = rng.multivariate_normal(np.zeros(problem.n_states), problem.initial_cov, size=runs)
    plain, soft = np.zeros(runs), np.zeros(runs)
    for k in range(horizon):
        u = rng.multivariate_normal(np.zeros(problem.n_inputs), solution.Sigma, size=runs) - x @ solution.K.T
        reward = -((x @ problem.Q) * x).sum(axis=1) - ((u @ problem.R) * u).sum(axis=1)
        plain += problem.gamma**k * reward
        soft += problem.gamma**k * (reward - 0.5 * solution.log_prob(x, u))
        x = x @ problem.A.T + u @ problem.B.T
        x += rng.multivariate_normal(np.zeros(problem.n_states), problem.noise_cov, size=runs)
    for total, closed in ((plain, solution.expected_return(horizon)), (soft, solution.expected_soft_return(horizon))):
        assert abs(total.mean() - closed) <= 4.0 * total.std() / np.sqrt(runs)


@settings(max_examples=20, deadline=None)
@given(problem=problems, alpha=alphas)
def test_returns_of_long_horizons_approach_the_infinite_one(problem, alpha):
    solution = problem.solve(alpha)
    horizon = int(40 / (1.0 - problem.gamma))
    assert solution.expected_return(horizon) == pytest.approx(solution.expected_return(), rel=1e-5)
    assert solution.expected_soft_return(horizon) == pytest.approx(solution.expected_soft_return(), rel=1e-5, abs=1e-5)
    first = -np.trace(problem.Q @ problem.initial_cov)
    moment = solution.K @ problem.initial_cov @ solution.K.T + solution.Sigma
    assert solution.expected_return(1) == pytest.approx(first - np.trace(problem.R @ moment))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.problem.solve(0.0), "alpha must be positive, got 0.0"),
        (lambda s: s.problem.solve("auto"), "alpha must contain real numbers only, got 'auto'"),
        (lambda s: s.value([1.0]), r"x must have shape \(..., 2\), got shape \(1,\)"),
        (lambda s: s.value([1.0, np.nan]), "x must be finite"),
        (lambda s: s.q_value([1.0, 1.0], [[1.0]]), r"u must have shape \(..., 2\)"),
        (lambda s: s.log_prob(1.0, [1.0, 1.0]), r"x must have shape \(..., 2\), got shape \(\)"),
        (lambda s: s.expected_return(0), "horizon must be an integer of at least 1, got 0"),
        (lambda s: s.expected_return(2.5), "horizon must be an integer of at least 1, got 2.5"),
        (lambda s: s.expected_soft_return(-1), "horizon must be an integer of at least 1, got -1"),
        (lambda s: s.problem.evaluate(1.0, s.K[:1], s.Sigma), "K must be a matrix of shape 2 x 2"),
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
