"""The study of plain defaults: a row for each algorithm, kept with its versions; and what the data allow."""

import json

import numpy as np
import pytest

from experiments.lqr import defaults
from experiments.lqr.data_floor import mean_error
from experiments.lqr.defaults import run_defaults
from maxent_envs import LQRProblem, preset
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.lqr_study import training

EVALUATION = EvaluationSettings(n_rollouts=10, horizon=5, n_states=5, n_actions=50)


def test_flowsac_and_sac_are_compared_with_the_optimum_and_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(defaults, "BRIEF_EVALUATION", EVALUATION)  # of the curves that nobody draws
    monkeypatch.setattr(training, "N_CURVE_POINTS", 2)
    arguments = {
        "problem": preset("scalar"),
        "alphas": [0.5],
        "out": tmp_path,
        "timesteps": 104,
        "evaluation": EVALUATION,
    }
    rows = run_defaults(**arguments, command="the command")
    assert [row["algorithm"] for row in rows] == ["flowsac-default", "flowsac-network", "sac-default"]
    assert all(row["mean_error"] > 0.0 and row["updates"] == 4 for row in rows)  # all on one environment
    kept = json.loads((tmp_path / "defaults.json").read_text())
    assert kept["runs"] == rows and kept["command"] == "the command" and "torch" in kept["versions"]
    assert "flowsac-default" in capsys.readouterr().out
    assert run_defaults(**arguments) == rows  # not trained again


def test_the_data_are_the_limit_as_far_as_next_states_are_noisy():
    problem = preset()
    assert mean_error(problem, 0.5, 500, seed=0) > 0.01
    exact = LQRProblem(**{**problem.to_dict(), "noise_cov": np.zeros((2, 2))})
    assert mean_error(exact, 0.5, 500, seed=0) == pytest.approx(0.0, abs=1e-9)
