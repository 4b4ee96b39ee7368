"""Problems of growing size: the floor against theory, rows, failures and kept results with tiny budgets."""

import json
import re

import numpy as np
import pytest
from stable_baselines3.common.logger import configure

from experiments.lqr import growing
from experiments.lqr.growing import run_growing
from experiments.lqr.training_log import training_figures
from maxent_envs import random_problem
from sb3_flowsac import FlowSAC
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.lqr_study import training
from sb3_flowsac.lqr_study.training import RunSpec

EVALUATION = EvaluationSettings(n_rollouts=100, horizon=10, n_states=400, n_actions=200)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("growing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "N_CURVE_POINTS", 1)
        return out, run_growing(sizes=(2, 5), out=out, timesteps=280, evaluation=EVALUATION)


def test_rows_and_files(study):
    out, rows = study
    assert json.loads((out / "growing.json").read_text()) == rows
    assert (out / "growing.png").read_bytes().startswith(b"\x89PNG")
    assert [(row["n_states"], row["n_inputs"], row["critic_entries"]) for row in rows] == [(2, 1, 7), (5, 2, 29)]
    for row in rows:
        assert row["failure"] is None
        assert 1 / 16 <= row["ess"] <= 1.0
        assert 0.0 <= row["clip_fraction"] <= 1.0
        model = FlowSAC.load(out / "growing" / f"n-{row['n_states']}" / row["model"])
        assert model.observation_space.shape == (row["n_states"],)
        assert model._n_updates == row["updates"] > 0


def test_kept_results_are_not_computed_again(study, monkeypatch):
    out, rows = study
    monkeypatch.setattr(training, "N_CURVE_POINTS", 1)
    monkeypatch.setattr(growing, "learn_and_compare", lambda spec: pytest.fail("computed again"))
    assert run_growing(sizes=(2, 5), out=out, timesteps=280, evaluation=EVALUATION) == rows


def test_a_run_that_diverges_is_a_row(tmp_path, monkeypatch, capsys):
    def diverge(spec):
        raise FloatingPointError("critic_loss is nan")

    monkeypatch.setattr(growing, "train_and_read_log", diverge)
    (row,) = run_growing(sizes=(2,), out=tmp_path, timesteps=80, evaluation=EVALUATION)
    assert row["failure"] == "critic_loss is nan"
    assert "mean_error" not in row
    printed = capsys.readouterr().out
    assert "80 (n = 2)" in printed
    assert "failed" in printed


def test_training_figures_are_averages_over_the_end_of_the_log(tmp_path):
    spec = RunSpec(random_problem(2, 1, seed=0), 0.5, 0, 8, tmp_path)
    for run, offset in ((1, 500.0), (2, 0.0)):  # an earlier run's log does not count
        logger = configure(str(tmp_path / "tensorboard" / f"{spec.name}_{run}"), ["tensorboard"])
        for step in range(100):
            logger.record("train/ess", offset + step)
            logger.dump(step)
        logger.close()
    figures = training_figures(spec)
    assert figures["ess"] == pytest.approx(np.mean(range(90, 100)))
    assert figures["critic_loss"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": []}, "sizes must hold 1 or more different values, got []"),
        ({"sizes": [1]}, "sizes must be an integer of at least 2"),
        ({"seeds": [-1]}, "seeds must be an integer"),
        ({"alpha": 0.0}, "alpha must be positive"),
        ({"timesteps": 0}, "timesteps must be an integer"),
        ({"jobs": 0}, "jobs must be an integer"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        run_growing(**{"sizes": (2,), "out": tmp_path / "out", **changes})
    assert not (tmp_path / "out").exists()
