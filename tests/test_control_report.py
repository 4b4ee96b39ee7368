"""The report of the control cells: its figures against those by hand, and what it refuses."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("rliable")

from experiments.control import report
from experiments.control.results import MixedResultsError, load, scores

ENVIRONMENTS = ("Hopper-v5", "Ant-v5")


def write(folder, algorithm, environment, seed, final, *, versions=None, defaults=None, **settings):
    cell = folder / environment / algorithm / str(seed)
    cell.mkdir(parents=True)
    given = {"algorithm": algorithm, "environment": environment, "seed": seed, "arguments": {}}
    budget = {"steps": 4000, "eval_freq": 1000, "eval_episodes": 2}
    content = {
        "settings": given | budget | settings,
        "versions": versions or {"torch": "2"},
        "defaults": defaults or {"learning_rate": "0.0003"},
        "result": {"machine": "a machine"},
    }
    (cell / "result.json").write_text(json.dumps(content))
    returns = np.array([0.0, final - 1.0, final, final + 1.0])
    steps = np.arange(1, 5)
    table = pd.DataFrame({"steps": 1000 * steps, "wall_seconds": 2.0 * steps, "processor_seconds": 900.0 * steps})
    table = table.assign(return_0=returns - 0.5, return_1=returns + 0.5, length_0=7, length_1=7)
    table.to_csv(cell / "evaluations.csv", index=False)


@pytest.fixture
def results(tmp_path):
    """FlowSAC twice as good as SAC on one task, as good on the other."""
    folder = tmp_path / "cells"
    for seed in range(4):
        write(folder, "flowsac", "Hopper-v5", seed, 200.0 + seed)
        write(folder, "flowsac", "Ant-v5", seed, 100.0 + seed)
    for seed in range(3):
        for environment in ENVIRONMENTS:
            write(folder, "sac", environment, seed, 99.0 + seed)
    return folder


def test_table_has_mean_and_deviation_over_seeds(results):
    table = report.summary(load(results)).set_index(["algo", "env_id"])
    row = table.loc[("flowsac", "Hopper-v5")]
    assert row["mean_reward"] == pytest.approx(201.5)
    assert row["std_reward"] == pytest.approx(np.std([0, 1, 2, 3], ddof=1))
    assert (row["seeds"], row["n_timesteps"], row["processor_hours"]) == (4, 4000, 1.0)


def test_scores_are_relative_to_the_reference(results):
    found = scores(load(results), "sac", ["flowsac", "sac"])
    np.testing.assert_allclose(found["sac"], [[0.99] * 2, [1.0] * 2, [1.01] * 2])
    assert found["flowsac"].shape == (4, 2)
    np.testing.assert_allclose(sorted(found["flowsac"][0]), [1.0, 2.0])


def test_plan_grows_with_steps_and_runs(results):
    (row,) = [line.split(" | ") for line in report.plan(load(results)).splitlines() if line.startswith("| sac")]
    # A cell of 4,000 steps has taken an hour; 100 runs take two turns on 64 cores
    assert row[1:5] == ["Ant-v5, Hopper-v5", "250.0", "500.0", "25,000"]


def test_aggregates(results):
    table = report.aggregates(load(results), ["flowsac", "sac"], "sac").set_index("algo")
    assert table.loc["sac", "iqm"] == pytest.approx(1.0, abs=0.005)
    assert table.loc["flowsac", "iqm_low"] <= table.loc["flowsac", "iqm"] <= table.loc["flowsac", "iqm_high"]
    # All of one task's pairs are wins. Of the other's twelve, eight are wins, three draws (half a win each)
    better = {100: 1.5, 101: 2.5, 102: 3.0, 103: 3.0}
    assert table.loc["sac", "improvement"] == pytest.approx((1.0 + sum(better.values()) / 12.0) / 2.0)


def test_seeds_that_a_task_lacks_do_not_count(results):
    (results / "Ant-v5" / "flowsac" / "3" / "result.json").unlink()
    assert scores(load(results), "sac", ["flowsac"])["flowsac"].shape == (3, 2)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"versions": {"torch": "3"}}, "torch"),
        ({"defaults": {"learning_rate": "0.001"}}, "learning_rate"),
        ({"arguments": {"batch_size": 32}}, "arguments"),
        ({"steps": 5000}, "steps"),
    ],
)
def test_mixed_results_are_refused(change, name, results):
    write(results, "sac", "Hopper-v5", 7, 1.0, **change)
    with pytest.raises(MixedResultsError, match=name):
        load(results)


def test_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no finished cell"):
        load(tmp_path)


def test_command_writes_tables_and_pictures(results, tmp_path, monkeypatch, capsys):
    out = tmp_path / "report"
    monkeypatch.setattr(report, "REPETITIONS", 50)
    monkeypatch.setattr(sys, "argv", ["report", "--results", str(results), "--out", str(out)])
    report.main()
    assert "| flowsac | Hopper-v5 | 202 | 1 | 4,000 | 4 | 1.00 |" in capsys.readouterr().out
    pictures = {f"curves_{name}.png" for name in ("steps", "wall_seconds", "processor_seconds")} | {"scores.png"}
    assert {path.name for path in out.iterdir()} == pictures | {"report.md", "summary.csv"}
    assert len(pd.read_csv(out / "summary.csv")) == 4
