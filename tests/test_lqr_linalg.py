"""The matrix equations of linear-quadratic control at their edges: modes on the unit circle, units, singular
covariances."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov, sqrtm

import maxent_envs
from maxent_envs import LQRProblem
from maxent_envs.lqr.linalg import (
    discounted_sum,
    quadratic_form,
    solve_riccati,
    spectral_radius,
    square_root,
    unmoved_modes,
)


def test_spectral_radius_of_a_rotation():
    """Complex eigenvalues: 1.5 exp(+-i), while the largest entry is below 1.3."""
    rotation = 1.5 * np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    assert spectral_radius(rotation) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("mode", "reached", "expected"),
    [
        (1.0, False, [1.0]),
        (-1.0, False, [-1.0]),
        (1.2, False, [1.2]),
        (1.0 - 1e-10, False, [1.0 - 1e-10]),
        (0.99, False, []),
        (1.0, True, []),
        (1.2, True, []),
    ],
)
@pytest.mark.parametrize("unit", [1.0, 1e-20, 1e20])
def test_a_mode_that_stays_needs_an_input_whatever_its_unit(mode, reached, expected, unit):
    A, B = np.diag([mode, 0.5]), unit * np.array([[float(reached)], [1.0]])
    np.testing.assert_allclose(unmoved_modes(A, B), expected)


@pytest.mark.parametrize("units", [[1e-3, 1e3, 1.0], [1e6, 1e-6, 1e3]])
def test_units_of_the_states_do_not_matter(units):
    A = np.array([[1.1, 0.2, 0.0], [0.0, 1.3, 0.0], [0.5, 0.1, 0.4]])
    for B, stay in (([[1.0], [0.0], [0.0]], [1.3]), ([[0.0], [1.0], [0.0]], [])):
        T = np.diag(units)
        np.testing.assert_allclose(unmoved_modes(T @ A @ np.linalg.inv(T), T @ B), stay)


@pytest.mark.parametrize(("mode", "expected"), [(0.9, []), (1.0, [1.0]), (1.1, [1.1])])
def test_without_any_input_what_does_not_decay_stays(mode, expected):
    np.testing.assert_allclose(unmoved_modes(np.diag([mode, 0.5]), np.zeros((2, 1))), expected)


def test_every_mode_needs_an_input():
    """Two unstable modes of which the input reaches one, in either order."""
    for B, stays in (([[1.0], [0.0]], [1.3]), ([[0.0], [1.0]], [1.2])):
        np.testing.assert_allclose(unmoved_modes(np.diag([1.2, 1.3]), np.array(B)), stays)
    assert len(unmoved_modes(np.diag([1.2, 1.3]), np.ones((2, 1)))) == 0
    assert len(unmoved_modes(np.diag([1.2, 1.2]), np.ones((2, 1)))) > 0  # one input cannot tell equal modes apart


def test_a_gain_on_the_bound_of_stability_is_refused():
    """sqrt(0.25) 2 is 1, exactly: the return is minus infinity."""
    problem = LQRProblem(A=[[2.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], gamma=0.25)
    with pytest.raises(ValueError, match=r"K must stabilise the problem.* got 1 with"):
        problem.evaluate(0.5, [[0.0]], [[1.0]])
    assert problem.evaluate(0.5, [[1e-3]], [[1.0]]).P[0, 0] > 100.0


@pytest.mark.parametrize("alpha", [1e-39, 1e39])
def test_a_temperature_outside_single_precision_is_named(alpha):
    with pytest.raises(ValueError, match="alpha must lie in"):
        maxent_envs.preset().solve(alpha)


def test_the_soft_return_of_one_step_is_its_reward_and_entropy():
    problem, alpha = maxent_envs.preset(), 0.5
    solution = problem.solve(alpha)
    assert solution.expected_soft_return(1) == pytest.approx(solution.expected_return(1) + alpha * solution.entropy)


def test_riccati_of_a_scalar_without_input_is_the_geometric_series():
    P = solve_riccati(np.array([[0.9]]), np.array([[0.0]]), np.diag([2.0, 1.0]), 0.5)
    assert P[0, 0] == pytest.approx(2.0 / (1.0 - 0.5 * 0.81))


def test_discounted_sum_is_its_series():
    rng = np.random.default_rng(0)
    F, start = 0.5 * rng.standard_normal((3, 3)), np.diag([1.0, 0.0, 2.0])
    expected, term = np.zeros((3, 3)), start
    for _ in range(400):
        expected, term = expected + term, 0.7 * F @ term @ F.T
    np.testing.assert_allclose(discounted_sum(F, start, 0.7), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(discounted_sum(F, start, 0.7), solve_discrete_lyapunov(np.sqrt(0.7) * F, start))


@pytest.mark.parametrize("gap", [1e-3, 1e-9, 1e-15])
def test_discounted_sum_converges_at_the_unit_circle(gap):
    assert discounted_sum(np.array([[1.0 - gap]]), np.eye(1), 1.0)[0, 0] == pytest.approx(0.5 / gap, rel=0.2)


def test_square_root_is_scipys_and_takes_rounding_below_zero():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((3, 3))
    np.testing.assert_allclose(square_root(root @ root.T), sqrtm(root @ root.T), atol=1e-10)
    almost = square_root(np.diag([4.0, -1e-18]))
    np.testing.assert_array_equal(almost, np.diag([2.0, 0.0]))


def test_quadratic_forms_of_a_batch():
    rng = np.random.default_rng(0)
    matrix, vectors = rng.standard_normal((3, 3)), rng.standard_normal((4, 5, 3))
    for index in np.ndindex(4, 5):
        assert quadratic_form(matrix, vectors)[index] == pytest.approx(vectors[index] @ matrix @ vectors[index])
