"""A linear-quadratic regulator in other units is learnt as well as in its own."""

import numpy as np
import pytest

from maxent_envs import LQRProblem, preset
from sb3_flowsac.evaluation.lqr import EvaluationSettings, evaluate_policy_on_lqr
from sb3_flowsac.evaluation.policies import LearntPolicy
from sb3_flowsac.lqr_study.models import lqr_model

ALPHA, STEPS = 0.5, 800  # not yet learnt: errors are a few percent
EVALUATION = EvaluationSettings(n_rollouts=100, horizon=30, n_states=50, n_actions=500)


def in_units(problem, state_unit, input_unit):
    """The problem of states T x and inputs S u, with T and S diagonal."""
    T = np.diag(state_unit)
    to_state, to_input = np.diag(1.0 / state_unit), np.diag(1.0 / input_unit)
    return LQRProblem(
        A=T @ problem.A @ to_state,
        B=T @ problem.B @ to_input,
        Q=to_state @ problem.Q @ to_state,
        R=to_input @ problem.R @ to_input,
        noise_cov=T @ problem.noise_cov @ T,
        initial_cov=T @ problem.initial_cov @ T,
        gamma=problem.gamma,
    )


class InOwnUnits:
    """A policy of the problem in other units, as a policy of the problem itself."""

    def __init__(self, model, state_unit, input_unit):
        self.policy, self.state_unit, self.input_unit = LearntPolicy(model), state_unit, input_unit
        self.action_space, self.device = self, self.policy.device
        self.low, self.high = (bound / input_unit for bound in (model.action_space.low, model.action_space.high))

    def sample(self, states, n, generator):
        actions, log_prob = self.policy.sample(states * self.state_unit, n, generator)
        return actions / self.input_unit, log_prob + np.log(self.input_unit).sum()


def figures(problem, state_unit, input_unit):
    model = lqr_model(in_units(problem, state_unit, input_unit), ALPHA, seed=0)
    model.learn(STEPS)
    policy = InOwnUnits(model, state_unit, input_unit)
    return evaluate_policy_on_lqr(policy, problem.solve(ALPHA), EVALUATION).metrics()


@pytest.fixture(scope="module")
def own():
    return figures(preset(), np.ones(2), np.ones(2))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_errors_do_not_depend_on_units(own, seed):
    exponents = np.random.default_rng(seed).uniform(-3.0, 3.0, (2, 2))
    found = figures(preset(), *10.0**exponents)
    assert own["mean_error"] > 0.01
    assert found["mean_error"] == pytest.approx(own["mean_error"], rel=0.05)
    assert found["cov_error"] == pytest.approx(own["cov_error"], rel=0.1, abs=1e-3)
    assert found["return"] == pytest.approx(own["return"], rel=1e-3)
