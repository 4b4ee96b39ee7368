"""The derived action Box against simulation."""

import numpy as np
import pytest

import maxent_envs
from maxent_envs import LQRProblem, clip_probability, derived_action_bound, optimal_spread


def simulate(problem, act, steps, runs=100_000, seed=0):
    """States after the given number of steps, shape (runs, n)."""
    rng = np.random.default_rng(seed)
    x = problem.initial_state(rng.standard_normal((runs, problem.n_states)))
    for _ in range(steps):
        x = problem.next_state(x, act(x, rng), rng.standard_normal(x.shape))
    return x


@pytest.mark.parametrize("name", ["default", "unstable"])
@pytest.mark.parametrize("alpha", [0.1, 2.0])
def test_clip_probability_agrees_with_simulation(name, alpha):
    """The first state or the twentieth, whichever meets a bound of two standard deviations more often."""
    problem = maxent_envs.preset(name)
    optimum, bound = problem.solve(alpha), 2.0 * optimal_spread(problem, 1.0)
    shares = []
    for steps in (0, 20):
        x = simulate(problem, optimum.sample, steps)
        shares.append((np.abs(optimum.sample(x, np.random.default_rng(1))) >= bound).mean(axis=0))
    expected = clip_probability(problem, alpha, bound)
    error = np.sqrt(expected * (1.0 - expected) / 100_000)
    assert (np.abs(np.maximum(*shares) - expected) <= 4.0 * error).all()


@pytest.mark.parametrize("name", ["default", "scalar", "unstable", "six-state", "dc-motor", "quadrotor"])
def test_derived_bound_is_met_rarely(name):
    problem = maxent_envs.preset(name)
    bound = derived_action_bound(problem, 1.0)
    assert bound.shape == (problem.n_inputs,)
    np.testing.assert_allclose(bound, 4.0 * optimal_spread(problem, 1.0))
    probabilities = [clip_probability(problem, alpha, bound).max() for alpha in (0.1, 0.5, 1.0, 2.0)]
    assert sorted(probabilities) == probabilities
    assert probabilities[2] == pytest.approx(6.334e-5, rel=1e-3) and probabilities[3] < 5e-3


def test_unstable_preset_survives_a_short_warm_up_and_not_a_long_one():
    """After 10 uniform actions the Box can still bring a state of three deviations home; after 100 it cannot."""
    problem = maxent_envs.preset("unstable")
    bound = derived_action_bound(problem, 1.0)
    spreads = [
        simulate(problem, lambda x, rng: rng.uniform(-bound, bound, (len(x), len(bound))), steps, 10_000).std(0).max()
        for steps in (10, 100)
    ]
    growth, reach = 1.1 - 1.0, np.abs(problem.B[0]) @ bound
    assert 3.0 * spreads[0] < reach / growth < 1e-3 * spreads[1]


def test_problem_without_stationary_state():
    """The closed loop is stable only after discounting: the discounted average takes the stationary covariance's
    place."""
    problem = LQRProblem(A=[[1.3]], B=[[0.1]], Q=[[0.01]], R=[[10.0]], gamma=0.5, initial_cov=[[0.0]])
    optimum = problem.solve(1.0)
    assert abs(optimum.closed_loop[0, 0]) > 1.0
    moment, average = problem.initial_cov, 0.0
    for k in range(200):
        average += 0.5 * 0.5**k * moment
        moment = optimum.next_state_covariance(moment)
    expected = np.sqrt(optimum.K @ average @ optimum.K.T + optimum.Sigma)[0]
    np.testing.assert_allclose(optimal_spread(problem, 1.0), expected)


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (0.0, "action_bound must be positive"),
        ([1.0, -1.0], "action_bound must be positive"),
        (1e300, "within float32's range"),
        (np.inf, "action_bound must be finite"),
        ([1.0, 1.0, 1.0], r"action_bound must be one number or 2, one per input; got shape \(3,\)"),
        ("wide", "action_bound must contain real numbers only, got 'wide'"),
    ],
)
def test_bad_bounds_are_named(bound, message):
    with pytest.raises(ValueError, match=message):
        clip_probability(maxent_envs.preset(), 1.0, bound)
