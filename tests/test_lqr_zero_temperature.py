"""The limit of zero temperature: figures of linear policies against closed forms, and the study with tiny budgets."""

import json
import math
import re

import numpy as np
import pytest

from experiments.lqr import zero_temperature
from experiments.lqr.zero_temperature import regulator_advantage, regulator_figures, run_zero_temperature
from maxent_envs import preset
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.evaluation.policies import LinearPolicy
from sb3_flowsac.lqr_study import training

SETTINGS = EvaluationSettings(n_rollouts=500, horizon=30, n_states=200, n_actions=400, seed=2)
TINY = EvaluationSettings(n_rollouts=10, horizon=5, n_states=10, n_actions=20)


class Shifted(LinearPolicy):
    """A linear policy with a constant added to its actions."""

    def sample(self, states, n, generator):
        actions, log_prob = super().sample(states, n, generator)
        return actions + 0.5, log_prob


@pytest.mark.parametrize("name", ["default", "unstable", "six-state"])
def test_only_the_covariance_depends_on_alpha(name):
    problem = preset(name)
    cold, warm = problem.solve(0.01), problem.solve(1.0)
    assert np.array_equal(cold.K, warm.K)
    assert 100.0 * cold.Sigma == pytest.approx(warm.Sigma, rel=1e-12)


@pytest.mark.parametrize("name", ["default", "unstable", "six-state"])
@pytest.mark.parametrize("alpha", [1.0, 0.03])
def test_advantage_of_the_regulator(name, alpha):
    problem = preset(name)
    solution = problem.solve(alpha)
    assert regulator_advantage(solution, 2000) == pytest.approx(
        alpha * problem.n_inputs / (2.0 * (1.0 - problem.gamma))
    )
    almost_zero = problem.solve(1e-9).expected_return(20)
    assert regulator_advantage(solution, 20) == pytest.approx(almost_zero - solution.expected_return(20), rel=1e-6)


def test_the_optimum_has_the_regulators_gain_and_its_own_spread():
    solution = preset().solve(0.1)
    figures = regulator_figures(LinearPolicy(solution), LinearPolicy(solution, deterministic=True), solution, SETTINGS)
    assert figures["gain_error"] < 1e-9
    # Sampling leaves each action's mean an error of covariance Sigma / n_actions, regression divides by the states'
    # spread
    assert 1e-4 < figures["sample_gain_error"] < 0.05
    assert figures["optimal_spread"] == pytest.approx(math.sqrt(np.trace(solution.Sigma)), rel=1e-12)
    assert figures["spread"] == pytest.approx(figures["optimal_spread"], rel=0.02)
    assert (figures["deterministic_loss"], figures["deterministic_loss_se"]) == (0.0, 0.0)


def test_a_worse_gain_and_a_wider_covariance_are_seen():
    problem = preset()
    solution = problem.solve(0.1)
    worse = problem.evaluate(0.1, 0.8 * solution.K, 4.0 * solution.Sigma)
    figures = regulator_figures(Shifted(worse), Shifted(worse, deterministic=True), solution, SETTINGS)
    assert figures["gain_error"] == pytest.approx(0.2, rel=1e-6)  # a constant is no error of the gain
    assert figures["sample_gain_error"] == pytest.approx(0.2, abs=0.03)
    assert figures["spread"] == pytest.approx(2.0 * figures["optimal_spread"], rel=0.02)


def test_loss_of_the_deterministic_controller_agrees_with_the_closed_form():
    problem = preset()
    solution = problem.solve(0.1)
    worse = problem.evaluate(0.1, 0.8 * solution.K, solution.Sigma)
    figures = regulator_figures(LinearPolicy(worse), LinearPolicy(worse, deterministic=True), solution, SETTINGS)
    almost_zero = problem.evaluate(0.1, worse.K, 1e-9 * worse.Sigma).expected_return(SETTINGS.horizon)
    expected = problem.solve(1e-9).expected_return(SETTINGS.horizon) - almost_zero
    assert abs(figures["deterministic_loss"] - expected) < 4.0 * figures["deterministic_loss_se"]
    assert figures["deterministic_loss_se"] < 0.2 * expected


def test_study_writes_its_files_and_keeps_its_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "N_CURVE_POINTS", 1)
    arguments = {
        "problem": preset("scalar"),
        "alphas": (0.5, 0.01),
        "out": tmp_path,
        "timesteps": 280,
        "evaluation": TINY,
    }
    rows = run_zero_temperature(**arguments)
    assert json.loads((tmp_path / "zero_temperature.json").read_text()) == rows
    assert (tmp_path / "zero_temperature.png").read_bytes().startswith(b"\x89PNG")
    assert [row["alpha"] for row in rows] == [0.5, 0.01]
    for row in rows:
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))
        advantage = regulator_advantage(preset("scalar").solve(row["alpha"]), TINY.horizon)
        assert row["loss"] - (row["optimal_return"] - row["return"]) == pytest.approx(advantage)
    assert "spread (opt.)" in capsys.readouterr().out
    monkeypatch.setattr(zero_temperature, "learn_and_compare", lambda spec: pytest.fail("computed again"))
    assert run_zero_temperature(**arguments) == rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alphas": []}, "alphas must hold 1 or more different values, got []"),
        ({"alphas": [0.1, 0.0]}, "alphas must be positive"),
        ({"seeds": [-1]}, "seeds must be an integer"),
        ({"timesteps": 0}, "timesteps must be an integer"),
        ({"jobs": 0}, "jobs must be an integer"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run_zero_temperature(**{"problem": preset(), "out": tmp_path / "out", **changes})
    assert not (tmp_path / "out").exists()
