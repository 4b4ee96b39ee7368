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

import maxent_envs
from maxent_envs import LQRProblem

VALID = {"A": [[0.9, 0.3], [0.0, 0.8]], "B": [[1.0], [0.5]], "Q": [[2.0, 0.5], [0.5, 1.0]], "R": [[0.3]]}
REFUSED = [
    ({"A": [[0.9, 0.3]]}, "A must be a matrix of shape 1 x 1, got shape (1, 2)"),
    ({"A": [0.9, 0.3]}, "A must be a matrix of shape any x any, got shape (2,)"),
    ({"A": [[0.9, 0.3], [0.0]]}, "A must be a rectangular array of numbers"),
    ({"A": "stable"}, "A must contain real numbers only, got 'stable'"),
    ({"A": None}, "A must contain real numbers only, got None"),
    ({"A": [[True, False], [False, True]]}, "A must contain real numbers only"),
    ({"A": np.eye(2) * 1j}, "A must contain real numbers only"),
    ({"A": []}, "A must not be empty"),
    ({"A": [[np.nan, 0.3], [0.0, 0.8]]}, "A must be finite"),
    ({"B": [[1.0, 0.5]]}, "B must be a matrix of shape 2 x any to fit A of shape (2, 2), got shape (1, 2)"),
    ({"B": [[np.inf], [0.5]]}, "B must be finite"),
    ({"Q": [[1.0]]}, "Q must be a matrix of shape 2 x 2 to fit A of shape (2, 2), got shape (1, 1)"),
    ({"Q": [[1.0, 0.5], [0.0, 1.0]]}, "Q must be symmetric"),
    ({"Q": [[1.0, 0.0], [0.0, -1.0]]}, "Q must be positive definite"),
    ({"Q": [[1.0, 0.0], [0.0, 0.0]]}, "Q must be positive definite"),
    ({"R": [[0.0]]}, "R must be positive definite"),
    ({"R": [[1.0, 0.0], [0.0, 1.0]]}, "R must be a matrix of shape 1 x 1 to fit B of shape (2, 1), got"),
    ({"noise_cov": [[1.0, 2.0], [2.0, 1.0]]}, "noise_cov must be a covariance"),
    ({"noise_cov": [[1.0, 0.2], [0.0, 1.0]]}, "noise_cov must be symmetric"),
    ({"noise_cov": 0.1}, "noise_cov must be a matrix of shape 2 x 2, got shape ()"),
    ({"initial_cov": [[-1.0, 0.0], [0.0, 1.0]]}, "initial_cov must be a covariance"),
    ({"gamma": 1.0}, "gamma must lie strictly between 0 and 1, got 1.0"),
    ({"gamma": 0.0}, "gamma must lie strictly between 0 and 1, got 0.0"),
    ({"gamma": np.nan}, "gamma must be finite"),
    ({"gamma": "0.9"}, "gamma must contain real numbers only"),
    ({"gamma": [0.9, 0.9]}, "gamma must be one number"),
    ({"A": [[1.2, 0.0], [0.0, 0.5]], "B": [[0.0], [1.0]]}, "A, B must be stabilizable"),
    ({"A": [[1e200, 0.0], [0.0, 0.5]]}, "A, B, Q, R, gamma must have a stabilising solution"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[f"{next(iter(c))}-{m[:40]}" for c, m in REFUSED])
def test_bad_input_is_named(change, message):
    with warnings.catch_warnings(), pytest.raises(ValueError) as caught:
        warnings.simplefilter("ignore")
        LQRProblem(**(VALID | change))
    assert message in str(caught.value)


def test_defaults_and_sizes():
    problem = LQRProblem(**VALID)
    assert (problem.n_states, problem.n_inputs, problem.gamma) == (2, 1, 0.95)
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
    for name in maxent_envs.preset_names():
        problem = maxent_envs.preset(name)
        assert LQRProblem(**problem.to_dict()) == problem


def test_singular_covariances_are_allowed():
    problem = LQRProblem(**VALID, noise_cov=np.zeros((2, 2)), initial_cov=[[1.0, 1.0], [1.0, 1.0]])
    start = problem.initial_state(np.random.default_rng(0).standard_normal((1000, 2)))
    np.testing.assert_allclose(start[:, 0], start[:, 1], atol=1e-7)
    ahead = problem.next_state(start, np.zeros((1000, 1)), start)
    np.testing.assert_allclose(ahead, start @ np.array(VALID["A"]).T, atol=1e-14)


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


def test_presets_are_as_described():
    default, scalar, unstable, six = (
        maxent_envs.preset(name) for name in ("default", "scalar", "unstable", "six-state")
    )
    assert [(p.n_states, p.n_inputs) for p in (default, scalar, unstable, six)] == [(2, 2), (1, 1), (2, 2), (6, 3)]
    Sigma = default.solve(0.5).Sigma
    assert abs(Sigma[0, 1]) / np.sqrt(Sigma[0, 0] * Sigma[1, 1]) > 0.5
    assert np.sqrt(unstable.gamma) * np.abs(np.linalg.eigvals(unstable.A)).max() > 1.05
    for problem in (default, scalar, unstable, six):
        assert np.abs(np.linalg.eigvals(problem.solve(1.0).closed_loop)).max() < 0.7
    with pytest.raises(ValueError, match=r"preset must be one of default, .*; got 'defualt'"):
        maxent_envs.preset("defualt")


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
        ((2, 1, 0, 0.0), "spectral_radius must lie in [1e-06, 1000.0], got 0.0"),
        ((2, 1, 0, 1.0, -1.0), "noise_std must lie in [1e-06, 1000.0], got -1.0"),
        ((2, 1, 0, 1.0, 0.1, 2.0), "gamma must lie strictly between 0 and 1"),
    ],
)
def test_random_problem_refuses(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        maxent_envs.random_problem(*arguments)
