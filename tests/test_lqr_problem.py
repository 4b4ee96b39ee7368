"""The problem as data: what is accepted, what is refused and how, and what presets and random problems promise."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import solve_discrete_are
from scipy.signal import cont2discrete

import maxent_envs
from maxent_envs import LQRProblem

VALID = {"A": [[0.9, 0.3], [0.0, 0.8]], "B": [[1.0], [0.5]], "Q": [[2.0, 0.5], [0.5, 1.0]], "R": [[0.3]]}
REFUSED = [
    ({"A": [[0.9, 0.3]]}, "A", "(1, 2)"),
    ({"A": [0.9, 0.3]}, "A", "(2,)"),
    ({"A": [[0.9, 0.3], [0.0]]}, "A", "[0.0]"),
    ({"A": "stable"}, "A", "'stable'"),
    ({"A": None}, "A", "None"),
    ({"A": [[True, False], [False, True]]}, "A", "real numbers"),
    ({"A": np.eye(2) * 1j}, "A", "real numbers"),
    ({"A": []}, "A", "(0,)"),
    ({"A": [[np.nan, 0.3], [0.0, 0.8]]}, "A", "finite"),
    ({"B": [[1.0, 0.5]]}, "B", "(2, any) to fit A of shape (2, 2), got shape (1, 2)"),
    ({"B": [[np.inf], [0.5]]}, "B", "finite"),
    ({"Q": [[1.0]]}, "Q", "(2, 2) to fit A of shape (2, 2), got shape (1, 1)"),
    ({"Q": [[1.0, 0.5], [0.0, 1.0]]}, "Q", "symmetric"),
    ({"Q": [[1.0, 0.0], [0.0, -1.0]]}, "Q", "positive semidefinite"),
    ({"Q": [[1.0, 1e-6], [1e-6, 0.0]]}, "Q", "positive semidefinite"),
    ({"R": [[0.0]]}, "R", "positive definite"),
    ({"R": [[1.0, 0.0], [0.0, 1.0]]}, "R", "(1, 1) to fit B of shape (2, 1), got"),
    ({"N": [[0.1, 0.1]]}, "N", "(2, 1) to fit B of shape (2, 1), got shape (1, 2)"),
    ({"N": [[2.0], [2.0]]}, "[[Q, N], [N', R]]", "positive semidefinite"),
    ({"noise_cov": [[1.0, 2.0], [2.0, 1.0]]}, "noise_cov", "positive semidefinite"),
    ({"noise_cov": [[1.0, 0.2], [0.0, 1.0]]}, "noise_cov", "symmetric"),
    ({"noise_cov": 0.1}, "noise_cov", "(2, 2), got shape ()"),
    ({"initial_cov": [[-1.0, 0.0], [0.0, 1.0]]}, "initial_cov", "positive semidefinite"),
    ({"gamma": 1.0}, "gamma", "strictly between 0 and 1, got 1.0"),
    ({"gamma": 0.0}, "gamma", "strictly between 0 and 1, got 0.0"),
    ({"gamma": np.nan}, "gamma", "between 0 and 1"),
    ({"gamma": "0.9"}, "gamma", "between 0 and 1"),
    ({"gamma": [0.9, 0.9]}, "gamma", "between 0 and 1"),
    ({"A": [[1.2, 0.0], [0.0, 0.5]], "B": [[0.0], [1.0]]}, "A, B", "stabilizable"),
    ({"A": [[1.2, 0.0], [0.0, 0.5]], "Q": [[0.0, 0.0], [0.0, 1.0]]}, "Q, N", "detectable"),
    ({"A": [[1e200, 0.0], [0.0, 0.5]]}, "A, B, Q, R, N, gamma", "stabilising solution"),
]


@pytest.mark.parametrize(("change", "name", "allowed"), REFUSED)
def test_bad_input_is_named(change, name, allowed):
    with warnings.catch_warnings(), pytest.raises(ValueError) as caught:
        warnings.simplefilter("ignore")
        LQRProblem(**(VALID | change))
    assert str(caught.value).removeprefix("the joint cost ").startswith(f"{name} must ")
    assert allowed in str(caught.value)


def test_defaults_and_sizes():
    problem = LQRProblem(**VALID)
    assert (problem.n_states, problem.n_inputs, problem.gamma) == (2, 1, 0.95)
    np.testing.assert_array_equal(problem.N, np.zeros((2, 1)))
    np.testing.assert_array_equal(problem.noise_cov, 0.01 * np.eye(2))
    np.testing.assert_array_equal(problem.initial_cov, np.eye(2))


def test_is_frozen_down_to_the_numbers():
    source = np.array(VALID["A"])
    problem = LQRProblem(**(VALID | {"A": source}))
    source[0, 0] = 100.0
    assert problem.A[0, 0] == 0.9
    with pytest.raises(AttributeError):
        problem.gamma = 0.5
    for clone in (problem, pickle.loads(pickle.dumps(problem)), copy.deepcopy(problem)):
        with pytest.raises(ValueError, match="read-only"):
            clone.A[0, 0] = 1.0
        assert clone == problem and hash(clone) == hash(problem)
    assert problem != LQRProblem(**VALID, gamma=0.9) and problem != "problem"


def test_dictionary_rebuilds_the_problem():
    for problem in (*map(maxent_envs.preset, maxent_envs.PRESETS), LQRProblem(**VALID, N=[[0.2], [0.1]])):
        assert LQRProblem(**problem.to_dict()) == problem


def test_singular_covariances_are_allowed():
    problem = LQRProblem(**VALID, noise_cov=np.zeros((2, 2)), initial_cov=[[1.0, 1.0], [1.0, 1.0]])
    start = problem.initial_state(np.random.default_rng(0).standard_normal((1000, 2)))
    np.testing.assert_allclose(start[:, 0], start[:, 1], atol=1e-7)
    ahead = problem.next_state(start, np.zeros((1000, 1)), start)
    np.testing.assert_allclose(ahead, start @ np.array(VALID["A"]).T, atol=1e-14)


def test_rewards_have_the_cross_term():
    problem = LQRProblem(**VALID, N=[[0.2], [-0.1]])
    reward = problem.reward(np.array([1.0, 2.0]), np.array([3.0]))
    assert reward == pytest.approx(-(2.0 + 2.0 * 0.5 * 2.0 + 4.0 + 0.3 * 9.0 + 2.0 * (0.2 * 3.0 - 0.1 * 6.0)))


@pytest.mark.parametrize("scale", [[1e3, 1.0], [1.0, 1e7], [1e-6, 1e6]])
def test_definiteness_does_not_depend_on_units(scale):
    """x in other units: the same problem, and the same verdict on a Q that is nearly singular."""
    T = np.diag(scale)
    for correlation, definite in ((0.999, True), (1.001, False)):
        Q = T @ [[1.0, correlation], [correlation, 1.0]] @ T
        arguments = VALID | {"A": np.linalg.inv(T) @ VALID["A"] @ T, "B": np.linalg.inv(T) @ VALID["B"], "Q": Q}
        if definite:
            K = LQRProblem(**arguments).solve(1.0).K
            unscaled = LQRProblem(**(VALID | {"Q": [[1.0, correlation], [correlation, 1.0]]})).solve(1.0).K
            np.testing.assert_allclose(K, unscaled @ T, rtol=1e-6)
        else:
            with pytest.raises(ValueError, match="Q must be positive semidefinite"):
                LQRProblem(**arguments)


def test_brysons_rule_in_si_units_is_definite():
    """A hydraulic cylinder, in m, m/s and Pa: 1 mm, 0.1 m/s and 10 MPa cost alike."""
    A, B = np.array([[0, 1, 0], [0, -5, 1e-5], [0, -1.4e10, -0.5]]), np.array([[0], [0], [1.4e10]])
    A, B = cont2discrete((A, B, np.eye(3), np.zeros((3, 1))), 1e-3)[:2]
    solution = LQRProblem(A, B, np.diag([1e6, 1e2, 1e-14]), [[4.0]], gamma=0.99).solve(1.0)
    T = np.diag([1e-3, 1e-1, 1e7])
    scaled = LQRProblem(np.linalg.inv(T) @ A @ T, np.linalg.inv(T) @ B, np.eye(3), [[4.0]], gamma=0.99).solve(1.0)
    np.testing.assert_allclose(solution.K @ T, scaled.K, rtol=1e-6)


@pytest.mark.parametrize("turn", [0.0, 0.6])
def test_a_cost_of_the_output_alone_is_solved_as_scipy_does(turn):
    """Q = C'C is semidefinite, its null space along an axis or not; the velocity, of no cost, is seen in the output."""
    A, B, R, gamma = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.005], [0.1]]), np.array([[0.1]]), 0.99
    T = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    A, B, C = T.T @ A @ T, T.T @ B, np.array([[1.0, 0.0]]) @ T
    P = solve_discrete_are(np.sqrt(gamma) * A, np.sqrt(gamma) * B, C.T @ C, R)
    K = gamma * np.linalg.solve(R + gamma * B.T @ P @ B, B.T @ P @ A)
    solution = LQRProblem(A, B, C.T @ C, R, gamma=gamma).solve(1.0)
    np.testing.assert_allclose(solution.K, K, rtol=1e-6)
    np.testing.assert_allclose(solution.P, P, rtol=1e-6)


@pytest.mark.parametrize("a", [0.9, 1.2])
@pytest.mark.parametrize("unit", [1e-30, 1e-11, 1e7, 1e30])
def test_the_inputs_unit_does_not_matter_to_the_solution(a, unit):
    def problem(b):
        return LQRProblem(A=[[a]], B=[[b]], Q=[[1.0]], R=[[b * b]])

    own, other = problem(1.0).solve(0.5), problem(unit).solve(0.5)
    np.testing.assert_allclose(other.P, own.P, rtol=1e-12)
    np.testing.assert_allclose(unit * other.K, own.K, rtol=1e-12)
    np.testing.assert_allclose(unit**2 * other.Sigma, own.Sigma, rtol=1e-12)


def test_expensive_control_of_an_unstable_system_is_solved():
    """Where R outweighs Q, P is what it costs to stabilise alone: the root of gamma a^2 / (1 + gamma P / R) = 1."""
    problem = LQRProblem(A=[[1.2]], B=[[1.0]], Q=[[1.0]], R=[[1e10]], gamma=0.99)
    p = 1e10 * (0.99 * 1.2**2 - 1.0) / 0.99
    np.testing.assert_allclose(problem.solve(1.0).P, [[p]], rtol=1e-6)


def test_a_growing_mode_that_the_cost_does_not_see_is_refused():
    """Its null space is along no axis: a square root V D^(1/2) of Q in place of C would miss the mode."""
    T = np.array([[0.6, -0.8], [0.8, 0.6]])
    Q = T @ np.diag([1.0, 0.0]) @ T.T
    LQRProblem(T @ np.diag([1.2, 0.5]) @ T.T, np.eye(2), Q, np.eye(2), gamma=0.99)
    with pytest.raises(ValueError, match=r"Q, N must .*detectable"):
        LQRProblem(T @ np.diag([0.5, 1.2]) @ T.T, np.eye(2), Q, np.eye(2), gamma=0.99)


@pytest.mark.parametrize("mode", [1.0 - 1e-10, 1.0 - 1e-13])
def test_a_mode_at_the_unit_circle_that_no_input_reaches_is_warned_of(mode):
    with pytest.warns(UserWarning, match=f"A, B .*{1.0 - mode:.2g}"):
        problem = LQRProblem(A=np.diag([mode / np.sqrt(0.99), 0.5]), B=[[0], [1]], Q=np.eye(2), R=[[1]], gamma=0.99)
    assert problem.solve(1.0).P[0, 0] == pytest.approx(1.0 / (1.0 - mode**2), rel=1e-2)


def test_modes_a_little_farther_in_and_modes_that_are_reached_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode, B in ((1.0 - 1e-8, [[0], [1]]), (1.0 - 1e-10, [[1], [1]]), (1.1, [[1], [1]])):
            LQRProblem(A=np.diag([mode / np.sqrt(0.99), 0.5]), B=B, Q=np.eye(2), R=[[1]], gamma=0.99)


def test_noise_and_first_state_have_their_covariances():
    covariance = np.array([[0.5, 0.3], [0.3, 0.4]])
    problem = LQRProblem(**VALID, noise_cov=covariance, initial_cov=2.0 * covariance)
    normal = np.random.default_rng(1).standard_normal((200_000, 2))
    np.testing.assert_allclose(np.cov(problem.initial_state(normal).T), 2.0 * covariance, rtol=0.02)
    noise = problem.next_state(np.zeros_like(normal), np.zeros((len(normal), 1)), normal)
    np.testing.assert_allclose(np.cov(noise.T), covariance, rtol=0.02)


@settings(max_examples=60, deadline=None)
@given(
    A=arrays(np.float64, (2, 2), elements=st.floats(-1e9, 1e9)),
    B=arrays(np.float64, (2, 1), elements=st.floats(-1e9, 1e9)),
    diagonal=st.tuples(st.floats(-1.0, 1e9), st.floats(-1.0, 1e9), st.floats(-1.0, 1e9)),
    gamma=st.floats(-0.5, 1.5),
)
def test_any_numbers_give_a_problem_or_a_value_error(A, B, diagonal, gamma):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem = LQRProblem(A=A, B=B, Q=np.diag(diagonal[:2]), R=[[diagonal[2]]], gamma=gamma)
    except ValueError as error:
        assert " must " in str(error)
    else:
        solution = problem.solve(0.5)
        assert np.isfinite(solution.expected_soft_return())
        assert np.abs(np.sqrt(gamma) * np.linalg.eigvals(A - B @ solution.K)).max() < 1.0


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 24), m=st.integers(1, 12), seed=st.integers(0, 10_000), radius=st.floats(0.1, 1.3))
def test_random_problems_are_solvable_and_repeatable(n, m, seed, radius):
    problem = maxent_envs.random_problem(n, m, seed, spectral_radius=radius)
    assert problem == maxent_envs.random_problem(n, m, seed, spectral_radius=radius)
    assert np.abs(np.linalg.eigvals(problem.A)).max() == pytest.approx(radius)
    assert np.isfinite(problem.solve(0.3).expected_return())


def test_random_problems_differ_by_seed():
    assert maxent_envs.random_problem(3, 2, 0) != maxent_envs.random_problem(3, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 0), "n_states must be an integer from 1 to 1000, got 0"),
        ((2, 1.5, 0), "n_inputs must be an integer from 1 to 1000, got 1.5"),
        ((2, 1, -1), "seed must be an integer of at least 0, got -1"),
        ((2, True, 0), "n_inputs must be an integer"),
        ((2, 1, 0, 0.0), "spectral_radius must lie in [1e-06, 1000], got 0.0"),
        ((2, 1, 0, 1.0, -1.0), "noise_std must lie in [1e-06, 1000], got -1.0"),
        ((2, 1, 0, 1.0, 0.1, 2.0), "gamma must lie strictly between 0 and 1"),
    ],
)
def test_random_problem_refuses(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        maxent_envs.random_problem(*arguments)
