"""The study of plain defaults: a row for each algorithm, kept with its versions."""

import json

from experiments.lqr import defaults
from experiments.lqr.defaults import run_defaults
from maxent_envs import preset
from sb3_flowsac.evaluation.lqr import EvaluationSettings

EVALUATION = EvaluationSettings(n_rollouts=10, horizon=5, n_states=5, n_actions=50)


def test_flowsac_and_sac_are_compared_with_the_optimum_and_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(defaults, "BRIEF_EVALUATION", EVALUATION)  # of the curves that nobody draws
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
