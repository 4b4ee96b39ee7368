"""
The paper's results, each against an oracle that does not share its algebra. Theorem 2 is a study: test_theorem2.py.

Equation 6 is also held against torchdiffeq (test_flow_density.py), in every solver's order (test_flow_ode.py).
"""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_problems import alphas, output_problems, problems, with_output
from scipy.linalg import expm
from scipy.stats import multivariate_normal, norm

import maxent_envs
from sb3_flowsac.flow import make_flow

F64 = {"dtype": torch.float64}
PROBLEMS = ["default", "scalar", "unstable", "output"]


def problem_named(name):
    """A preset, or one with a singular Q and a cross term N."""
    return with_output(maxent_envs.preset("default"), 1, 1) if name == "output" else maxent_envs.preset(name)


# --- Theorem 1 and equation 6: d/dt log p_t(a_t) = -tr(dv/da)(a_t, t), hence
# --- log pi(a) = log p_0(a_0) - integral over t of tr(dv/da)(a_t, t), along the path that ends in a_1 = a

MATRIX = np.array([[0.3, -1.1], [0.7, -0.9]])  # spirals, and does not commute with its transpose
DRIFT = np.array([0.4, -0.8])


def affine_flow(time, n_steps, solver):
    """The paper's flow and density with v = MATRIX a + DRIFT from t = 0 to ``time``, which is put in the field's
    scale."""
    flow = make_flow(
        1,
        2,
        base="standard",
        field_kwargs={"units": 1, "n_basis": 1},
        ode_steps=n_steps,
        ode_solver=solver,
        density="trace",
    ).double()
    numbers = [np.ones(4), np.zeros(3), time * DRIFT, time * MATRIX.ravel()]  # its one tanh unit is switched off
    flow.field.head.bias.data = torch.tensor(np.concatenate(numbers))
    with torch.no_grad():
        return flow(torch.zeros(1, 1, **F64))


def affine_solution(time):
    """a_t = E a_0 + d with E and d from one matrix exponential, so p_t = N(d, E E')."""
    generator = np.zeros((3, 3))
    generator[:2, :2], generator[:2, 2] = MATRIX, DRIFT
    transition = expm(time * generator)
    return transition[:2, :2], transition[:2, 2]


def test_theorem_1_along_the_path_of_an_affine_field():
    """At every time, and the change of log p_t along a path is -t tr(M): the statement itself."""
    noise = np.random.default_rng(0).standard_normal((20, 2))
    start = multivariate_normal(np.zeros(2), np.eye(2)).logpdf(noise)
    for time in (0.1, 0.5, 1.0, 3.0):
        transition, centre = affine_solution(time)
        a = noise @ transition.T + centre
        exact = multivariate_normal(centre, transition @ transition.T).logpdf(a)
        np.testing.assert_allclose(exact - start, -time * np.trace(MATRIX), rtol=1e-9)
        found = affine_flow(time, 100, "rk4").log_prob(torch.tensor(a)[None])[0]
        np.testing.assert_allclose(found, exact, atol=1e-6)


def test_equation_6_by_rk2_converges_with_the_square_of_the_step():
    transition, centre = affine_solution(1.0)
    a = np.random.default_rng(0).standard_normal((20, 2)) @ transition.T + centre
    exact = multivariate_normal(centre, transition @ transition.T).logpdf(a)
    n_steps = [10, 20, 40, 80]
    densities = [affine_flow(1.0, n, "midpoint").log_prob(torch.tensor(a)[None])[0].numpy() for n in n_steps]
    errors = [np.abs(density - exact).max() for density in densities]
    orders = -np.diff(np.log2(errors))
    assert errors[0] > 1e-4 and (np.abs(orders - 2.0) < 0.2).all() and abs(orders[-1] - 2.0) < 0.05


def test_equation_6_is_a_density_on_the_line(perturb):
    """For a random field that makes it plainly non-Gaussian; by the trapezoidal rule, which is exact for such
    integrands."""
    flow = make_flow(1, 1, base="standard", ode_steps=200, density="trace").double()
    distribution = perturb(flow, 0.5)(torch.ones(1, 1, **F64))
    axis = np.linspace(-30.0, 30.0, 6001)
    with torch.no_grad():
        density = distribution.log_prob(torch.tensor(axis).view(1, -1, 1))[0].exp().numpy()
    cell = axis[1] - axis[0]
    assert density.sum() * cell == pytest.approx(1.0, abs=1e-4)
    mean = (density * axis).sum() * cell
    std = math.sqrt((density * (axis - mean) ** 2).sum() * cell)
    assert np.abs(density - norm.pdf(axis, mean, std)).sum() * cell > 0.1


# --- Theorem 3: pi*(.|x) = N(-K*x, Sigma*) with K* = gamma G^-1 B'PA, Sigma* = alpha/2 G^-1, G = R + gamma B'PB, P of
# the --- Riccati equation, is the optimum of the max-entropy LQR; its soft value is V*(x) = -x'Px + c


def normal_quadrature(mean, covariance, order=12):
    """Nodes, shape (k, d), and weights of Gauss-Hermite quadrature under N(mean, covariance)."""
    node, weight = np.polynomial.hermite_e.hermegauss(order)
    dimension = len(mean)
    nodes = np.stack([axis.ravel() for axis in np.meshgrid(*[node] * dimension)], axis=-1)
    weights = np.prod([axis.ravel() for axis in np.meshgrid(*[weight] * dimension)], axis=0)
    return mean + nodes @ np.linalg.cholesky(covariance).T, weights / weights.sum()


def action_grid(mean, covariance, points=101):
    """A grid of ten standard deviations about the mean, shape (k, d), and its cell volume."""
    axes = [
        np.linspace(c - 10.0 * s, c + 10.0 * s, points) for c, s in zip(mean, np.sqrt(np.diag(covariance)), strict=True)
    ]
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=-1), cell


def q_by_quadrature(problem, value, x, u):
    """r(x, u) + gamma E_w V(Ax + Bu + w), u of shape (k, m), the expectation by quadrature."""
    noise, weights = normal_quadrature(np.zeros(problem.n_states), problem.noise_cov, order=6)
    ahead = problem.A @ x + u @ problem.B.T
    reward = -(x @ problem.Q @ x) - np.einsum("ki,ij,kj->k", u, problem.R, u) - 2.0 * u @ (problem.N.T @ x)
    return reward + problem.gamma * value(ahead[:, None, :] + noise) @ weights


def log_integral_exp(q, alpha, cell):
    """alpha log of the integral of exp(q / alpha) over a grid of actions: the soft maximum of q."""
    return q.max() + alpha * np.log(np.exp((q - q.max()) / alpha).sum() * cell)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_theorem_3_satisfies_both_soft_bellman_equations(name, alpha):
    """V = E_pi[r - alpha log pi + gamma V(x')], V = alpha log integral exp(Q / alpha) and pi = exp((Q - V) / alpha)."""
    problem = problem_named(name)
    solution = problem.solve(alpha)
    for x in np.random.default_rng(0).normal(scale=2.0, size=(3, problem.n_states)):
        value = solution.value(x)
        drawn, weights = normal_quadrature(solution.mean(x), solution.Sigma)
        soft = q_by_quadrature(problem, solution.value, x, drawn) - alpha * solution.log_prob(x, drawn)
        assert weights @ soft == pytest.approx(value, rel=1e-8)
        actions, cell = action_grid(solution.mean(x), solution.Sigma)
        q = q_by_quadrature(problem, solution.value, x, actions)
        np.testing.assert_allclose(solution.q_value(x, actions), q, rtol=1e-9, atol=1e-9)
        assert log_integral_exp(q, alpha, cell) == pytest.approx(value, rel=1e-8)
        np.testing.assert_allclose(solution.log_prob(x, actions), (q - value) / alpha, atol=1e-6)


def soft_return(problem, alpha, K, Sigma):
    """
    Differentiable soft return of N(-K x, Sigma) by way of the states: the discounted sum X of their second moments
    solves X = X_0 + gamma (F X F' + (B Sigma B' + W) / (1 - gamma)), here as one linear system.
    """
    A, B, Q, R, N, W, X0 = (
        torch.tensor(getattr(problem, name)) for name in ("A", "B", "Q", "R", "N", "noise_cov", "initial_cov")
    )
    gamma, n, m = problem.gamma, problem.n_states, problem.n_inputs
    F = A - B @ K
    inflow = X0 + gamma / (1.0 - gamma) * (B @ Sigma @ B.T + W)
    X = torch.linalg.solve(torch.eye(n * n, **F64) - gamma * torch.kron(F, F), inflow.flatten()).view(n, n)
    entropy = 0.5 * m * math.log(2.0 * math.pi * math.e) + 0.5 * torch.logdet(Sigma)
    cost = Q + K.T @ R @ K - 2.0 * N @ K
    return -torch.trace(cost @ X) + (alpha * entropy - torch.trace(R @ Sigma)) / (1.0 - gamma)


@settings(max_examples=25)
@given(problem=problems(4) | output_problems(3), alpha=alphas)
def test_theorem_3_is_a_strict_maximum_of_the_soft_return(problem, alpha):
    """In K and in the Cholesky factor of Sigma: zero gradient, negative definite Hessian, by autograd."""
    solution = problem.solve(alpha)
    K, factor = torch.tensor(solution.K), torch.linalg.cholesky(torch.tensor(solution.Sigma))
    lower = torch.tril_indices(problem.n_inputs, problem.n_inputs)

    def of_parameters(parameters):
        """Parameters in units of the optimum: K in its own size, the factor relative to the optimum's."""
        relative = torch.zeros_like(factor).index_put((lower[0], lower[1]), parameters[K.numel() :])
        root = factor @ (torch.eye(problem.n_inputs, **F64) + relative)
        return soft_return(problem, alpha, K + parameters[: K.numel()].view_as(K), root @ root.T)

    zero = torch.zeros(K.numel() + lower.shape[1], **F64)
    best = of_parameters(zero).item()
    assert best == pytest.approx(solution.expected_soft_return(), rel=1e-8, abs=1e-8)
    gradient = torch.func.grad(of_parameters)(zero)
    hessian = torch.func.jacrev(torch.func.grad(of_parameters))(zero)
    assert torch.linalg.eigvalsh(hessian).max() < 0
    # Where the gradient says that the maximum is, and what it would gain
    step = -torch.linalg.solve(hessian, gradient)
    assert step.abs().max() <= 1e-7
    assert 0.5 * gradient.abs() @ step.abs() <= 1e-10 * max(1.0, abs(best))


@settings(max_examples=40)
@given(problem=problems(4) | output_problems(4), alpha=alphas, seed=st.integers(0, 1000), size=st.floats(0.01, 1.0))
def test_theorem_3_no_linear_gaussian_policy_does_better(problem, alpha, seed, size):
    """Far from the optimum too, wherever the return is finite."""
    solution, rng = problem.solve(alpha), np.random.default_rng(seed)
    K = solution.K + size * rng.standard_normal(solution.K.shape)
    root = np.linalg.cholesky(solution.Sigma) + size * rng.standard_normal(solution.Sigma.shape)
    try:
        other = problem.evaluate(alpha, K, root @ root.T)
    except ValueError:
        assume(False)  # it does not stabilise the problem, or its covariance is singular
    returns = [policy.expected_soft_return() for policy in (other, solution)]
    assert returns[0] <= returns[1] + 1e-9 * abs(returns[1])
    by_way_of_states = soft_return(problem, alpha, torch.tensor(K), torch.tensor(root @ root.T)).item()
    assert returns[0] == pytest.approx(by_way_of_states, rel=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_theorem_3_value_is_what_rollouts_of_the_environment_earn(name):
    """Within 3 standard errors of 2,000 rollouts, so long that what is left out weighs less than 1e-6 of the value."""
    alpha, horizon, runs = 0.5, 300, 2000
    problem, rng = problem_named(name), np.random.default_rng(0)
    solution, x0 = problem.solve(alpha), np.full(problem.n_states, 1.0)
    x, total = np.tile(x0, (runs, 1)), np.zeros(runs)
    for step in range(horizon):
        u = solution.sample(x, rng)
        total += problem.gamma**step * (problem.reward(x, u) - alpha * solution.log_prob(x, u))
        x = problem.next_state(x, u, rng.standard_normal(x.shape))
    assert abs(total.mean() - solution.value(x0)) <= 3.0 * total.std(ddof=1) / math.sqrt(runs)


# --- Lemma 1: for pi = N(-K x, Sigma) the soft Q function is quadratic, with P of the Lyapunov equation; its
# improvement --- exp(Q / alpha) / Z is Gaussian again; so iterated, K goes to K* as in policy iteration without entropy


@pytest.mark.parametrize("name", PROBLEMS)
def test_lemma_1_q_satisfies_its_bellman_equation_and_its_improvement_is_exp_q(name):
    """Q = r + gamma E[Q(x', u') - alpha log pi(u'|x')] and pi_new = exp(Q / alpha) / Z, all integrals by quadrature."""
    problem, alpha, rng = problem_named(name), 0.5, np.random.default_rng(0)
    K0 = 0.8 * problem.solve(alpha).K
    noise, noise_weights = normal_quadrature(np.zeros(problem.n_states), problem.noise_cov, order=6)
    iterates = itertools.islice(problem.soft_policy_iteration(alpha, K0, np.eye(problem.n_inputs)), 4)
    for iterate, improved in itertools.pairwise(iterates):
        explored, action_weights = normal_quadrature(np.zeros(problem.n_inputs), iterate.Sigma, order=6)
        x, u = rng.standard_normal(problem.n_states), rng.standard_normal(problem.n_inputs)
        ahead = problem.A @ x + problem.B @ u + noise
        actions = iterate.mean(ahead)[:, None, :] + explored
        soft = iterate.q_value(ahead[:, None, :], actions) - alpha * iterate.log_prob(ahead[:, None, :], actions)
        target = -(x @ problem.Q @ x) - u @ problem.R @ u - 2.0 * x @ problem.N @ u
        target += problem.gamma * noise_weights @ soft @ action_weights
        assert iterate.q_value(x, u) == pytest.approx(target, rel=1e-10)
        np.testing.assert_allclose(iterate.value(ahead), soft @ action_weights, rtol=1e-9, atol=1e-9)
        grid, cell = action_grid(improved.mean(x), improved.Sigma)
        q = q_by_quadrature(problem, iterate.value, x, grid)
        np.testing.assert_allclose(
            improved.log_prob(x, grid), (q - log_integral_exp(q, alpha, cell)) / alpha, atol=1e-6
        )


@settings(max_examples=25)
@given(n=st.integers(1, 5), m=st.integers(1, 3), seed=st.integers(0, 10_000), alpha=st.sampled_from([0.1, 1.0]))
def test_lemma_1_converges_quadratically_and_never_gets_worse(n, m, seed, alpha):
    r"""
    ||K_{i+1} - K*|| <= C ||K_i - K*||^2 with a C that is known before the first step.

    With D = P_i - P*: G_i (K_{i+1} - K*) = gamma B'D (A - BK*) and D = sum of gamma^k F_i'^k (K_i - K*)'G*(K_i - K*)
    F_i^k, F_i = A - BK_i. As G_i >= G*, and gamma^k F_i'^k Q F_i^k sums to at most P_i <= P_0, in spectral norms
    C = gamma ||G*^-1|| ||B|| ||A - BK*|| ||G*|| ||P_0|| / lambda_min(Q).
    """
    problem = maxent_envs.random_problem(n, m, seed, spectral_radius=0.95)
    optimum = problem.solve(alpha)
    iterates = list(itertools.islice(problem.soft_policy_iteration(alpha, np.zeros((m, n)), np.eye(m)), 9))
    G = problem.R + problem.gamma * problem.B.T @ optimum.P @ problem.B
    norms = [
        np.linalg.norm(matrix, 2) for matrix in (np.linalg.inv(G), problem.B, optimum.closed_loop, G, iterates[0].P)
    ]
    C = problem.gamma * np.prod(norms) / np.linalg.eigvalsh(problem.Q)[0]
    errors = np.array([np.linalg.norm(iterate.K - optimum.K, 2) for iterate in iterates])
    rounding = 1e-10 * max(1.0, np.linalg.norm(optimum.K))
    assert (errors[1:] <= C * errors[:-1] ** 2 + rounding).all() and errors[-1] <= rounding
    np.testing.assert_allclose(iterates[-1].Sigma, optimum.Sigma, rtol=1e-7, atol=1e-12)
    returns = np.array([iterate.expected_soft_return() for iterate in iterates])
    assert (np.diff(returns) >= -1e-9 * np.abs(returns[1:])).all()
    assert returns[-1] == pytest.approx(optimum.expected_soft_return())


def test_lemma_1_order_of_convergence_approaches_two():
    """Estimated from three errors in a row: (log e3 - log e2) / (log e2 - log e1)."""
    problem = maxent_envs.preset()
    iterates = itertools.islice(problem.soft_policy_iteration(0.5, np.zeros((2, 2)), np.eye(2)), 5)
    logs = np.log([np.linalg.norm(iterate.K - problem.solve(0.5).K) for iterate in iterates])
    orders = np.diff(logs)[1:] / np.diff(logs)[:-1]
    assert 1.8 < orders[-1] < 2.2 and logs[-1] < np.log(1e-6)


def test_the_page_on_the_theorems_names_tests_that_exist():
    here = Path(__file__).parent
    page = (here.parent / "docs" / "theorems.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 15
    missing = [(file, name) for file, name in named if f"def {name}(" not in (here / file).read_text(encoding="utf-8")]
    assert not missing
