"""The case study: its summary against closed forms, its tables, its files."""

import csv
import json
import math
from copy import deepcopy
from dataclasses import replace
from functools import partial
from unittest.mock import create_autospec

import numpy as np
import pytest
from scipy import stats

import maxent_envs
from experiments.lqr import full, report
from experiments.lqr.algorithms import FLOWSAC
from experiments.lqr.full import DIAGONAL, best_diagonal_row, run_full, summarize
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.lqr_study import training
from sb3_flowsac.lqr_study.training import RunSpec

TINY = EvaluationSettings(n_rollouts=8, horizon=5, n_states=4, n_actions=20)
SPI = {
    "alpha": 0.5,
    "seed": 0,
    "flow": {"gain_error": [1.0, 0.01]},
    "mean_error": 0.011,
    "cov_error": 0.02,
    "seconds": 3.2,
}
COLD = {"alpha": 0.5, "gain_error": 0.01, "spread": 0.5, "optimal_spread": 0.4, "loss": 9.0, "optimal_loss": 8.0}
ROBUST = {"label": "flow", "controller": "stochastic", "kind": "input bias", "magnitude": 0.1, "loss": 0.25}
SLOPE = {"value": 0.5, "low": 0.4, "high": 0.6}
THEOREM = {
    "slopes": {"n_samples": {"upper": None}, "renyi_4": {"upper": SLOPE}},
    "bound": {"n_samples": -0.5, "renyi_4": 0.75},
}
GROWN = {"n_states": 24, "n_inputs": 12, "mean_error": 0.2, "failure": None, "ess": None}


def note(asked, name, row, **given):
    asked[name] = given
    return row if name == "run_theorem2" else [row]


def entry(algorithm, seed, **figures):
    row = {"algorithm": algorithm, "alpha": 0.5, "seed": seed, "horizon": 30, "return": -10.0, "optimal_return": -9.0}
    row |= {
        "mean_error": 0.1,
        "cov_error": 0.2,
        "soft_gap": 0.3,
        "return_se": 0.09,
        "mean_floor": 0.0,
        "cov_floor": 0.0,
    }
    return {"row": {**row, "clip_fraction": 0.0, "timesteps": 8, "updates": 1, "seconds": 1.0, **figures}}


def test_summary_has_means_and_their_intervals():
    problem = maxent_envs.preset()
    errors = [0.1, 0.3, 0.2]
    summary = summarize(problem, [entry("flowsac", seed, mean_error=error) for seed, error in enumerate(errors)])
    flow, diagonal = summary
    low, high = stats.t.interval(0.95, 2, loc=np.mean(errors), scale=stats.sem(errors))
    assert (flow["algorithm"], flow["seeds"]) == ("flowsac", 3)
    assert flow["mean_error"] == pytest.approx(0.2)
    assert flow["mean_error_ci"] == pytest.approx(0.5 * (high - low))
    assert flow["return_error"] == pytest.approx(1.0 / 9.0)
    assert flow["return_error_se"] == pytest.approx(0.01)
    assert diagonal["algorithm"] == DIAGONAL


def test_best_diagonal_gaussian_has_the_return_and_misses_the_soft_return():
    problem = maxent_envs.preset()
    solution = problem.solve(0.5)
    row = best_diagonal_row(solution, 3000)
    G = problem.R + problem.gamma * problem.B.T @ solution.P @ problem.B
    gap = 0.5 / (2.0 * (1.0 - problem.gamma)) * math.log(np.prod(np.diag(G)) / np.linalg.det(G))
    assert row["return_error"] < 1e-9
    assert row["soft_gap"] == pytest.approx(gap, rel=1e-9)
    assert row["cov_error"] > 0.3


def test_tables_name_what_the_rows_hold():
    diagonal = best_diagonal_row(maxent_envs.preset().solve(0.5), 100)
    assert f"| 0.5 | {DIAGONAL} | 0.00% | {diagonal['cov_error']:.2%} |" in report.summary_table([diagonal])
    flow = {**diagonal, "algorithm": "flowsac", **{f"{name}_ci": 0.01 for name in full.METRICS}}
    assert "| 0.00% ± 1.00% |" in report.summary_table([flow])
    assert report.spi_table([SPI]).splitlines()[-1] == "| 0.5 | 0 | 1.00% | 1.10% | 2.00% | 3 |"
    assert "8.0000" in report.zero_temperature_table([{**COLD, "deterministic_loss": 0.1}])
    heading, _, line = report.robustness_table([ROBUST, {**ROBUST, "magnitude": 0.3, "loss": 0.75}]).splitlines()
    assert heading == "| policy | controller | input bias 0.1 | input bias 0.3 |"
    assert line == "| flow | stochastic | 0.250 | 0.750 |"
    assert report.growing_table([GROWN]).splitlines()[-1].startswith("| 24 | 12 | 20.0% |  |")
    assert report.growing_table([{"n_states": 24, "n_inputs": 12, "failure": "nan"}]).endswith("| nan |")


def test_case_study_writes_its_report(tmp_path, monkeypatch):
    monkeypatch.setattr(full, "RunSpec", partial(RunSpec, evaluation=TINY, curve_evaluation=TINY))
    monkeypatch.setattr(training, "N_CURVE_POINTS", 2)
    monkeypatch.setattr(full, "run_robustness", partial(full.run_robustness, n_rollouts=8, horizon=5))
    asked = {}
    rows = {"run_spi": SPI, "run_zero_temperature": {**COLD, "deterministic_loss": 0.1}, "run_growing": GROWN}
    for name, row in {**rows, "run_theorem2": THEOREM}.items():
        stand_in = create_autospec(getattr(full, name), side_effect=partial(note, asked, name, row))
        monkeypatch.setattr(full, name, stand_in)
    arguments = {"alphas": [0.5], "seeds": [0, 1], "problem": maxent_envs.preset("scalar"), "timesteps": 208}
    summary = run_full(**arguments, out=tmp_path, command="python -m experiments.lqr full")
    assert [row["algorithm"] for row in summary] == ["flowsac", "flowsac-default", "sac-tuned", "sac-default", DIAGONAL]
    assert all(row["seeds"] == 2 for row in summary[:-1])
    assert all(row["updates"] > 0 for row in summary[:-1] if row["algorithm"] != "flowsac-default")  # still warms up
    assert {row["label"] for row in json.loads((tmp_path / "robustness.json").read_text())} == {
        f"{name}, alpha 0.5" for name in ("flowsac", "flowsac-default", "sac-tuned", "optimum")
    }
    assert asked["run_growing"]["timesteps"] == asked["run_zero_temperature"]["timesteps"] == 208
    assert json.loads((tmp_path / "summary.json").read_text())["rows"] == summary
    with open(tmp_path / "summary.csv", newline="") as file:
        assert [float(row["cov_error"]) for row in csv.DictReader(file)] == [row["cov_error"] for row in summary]
    page = (tmp_path / "report.md").read_text()
    assert report.summary_table(summary) in page
    for text in (
        "## The problem",
        "    A: ",
        "    python -m experiments.lqr full",
        "torch",
        "machine: Linux",
        "Slope of log W2^2 against R_4: 0.50",
    ):
        assert text.lower() in page.lower()
    for name in ("figure_1", "figure_2", "gaussian_gap", "action_distributions"):
        assert f"({name}.png)" in page
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_that_fails_does_not_cost_the_others(tmp_path, monkeypatch):
    def fail():
        raise RuntimeError("no luck")

    monkeypatch.setattr(
        full, "run_tasks", lambda tasks, *_: [entry("flowsac", number) for number, _ in enumerate(tasks)]
    )
    monkeypatch.setattr(full, "save_full_plots", lambda *_: None)
    monkeypatch.setattr(full, "_further_parts", lambda *_: {"First": fail, "Second": lambda: "It went well."})
    with pytest.raises(RuntimeError, match=r"First.*no luck"):
        run_full(alphas=[0.5], seeds=[0, 1], out=tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "Failed: no luck" in page and "It went well." in page


def test_one_seed_has_no_interval(tmp_path):
    with pytest.raises(ValueError, match=r"seeds must hold 2 or more different values, got \[3, 3\]"):
        run_full(alphas=[0.5], seeds=[3, 3], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_same_settings_are_the_same_in_another_process():
    again = replace(FLOWSAC, settings=deepcopy(FLOWSAC.settings))  # objects at other addresses
    assert again.identity == FLOWSAC.identity
    assert replace(FLOWSAC, settings={**FLOWSAC.settings, "sampling_distribution": None}).identity != FLOWSAC.identity
