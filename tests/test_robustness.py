"""Trained agents in disturbed environments: what each disturbance does, and the table of returns."""

import json
import sys

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("mujoco")

from experiments.control import robustness
from experiments.control.__main__ import main as train_cells
from experiments.control.robustness import DISTURBANCES


def first_steps(disturbance, action):
    """Fifty observations of Hopper-v5 and its model's mass and friction."""
    env = DISTURBANCES[disturbance](gym.make("Hopper-v5"))
    env.reset(seed=0)
    model = env.unwrapped.model
    return np.array([env.step(action)[0] for _ in range(50)]), model.body_mass.sum(), model.geom_friction.sum()


def test_each_disturbance_changes_what_it_names_and_nothing_else():
    action = np.full(3, 0.2, np.float32)
    observations, mass, friction = first_steps("none", action)
    for name in list(DISTURBANCES)[1:]:
        disturbed, its_mass, its_friction = first_steps(name, action)
        assert not np.allclose(disturbed, observations)
        factor = float(name.split()[-1])
        assert its_mass / mass == pytest.approx(factor if "mass" in name else 1.0)
        assert its_friction / friction == pytest.approx(factor if "friction" in name else 1.0)
    noise = first_steps("observation noise 0.1", action)[0] - observations
    assert 0.05 < noise.std() < 0.2


def test_noisy_actions_stay_in_their_box():
    outermost = np.ones(3, np.float32)
    seen = []
    env = DISTURBANCES["action noise 0.3"](gym.make("Hopper-v5"))
    env.env.step = lambda action: (seen.append(action), (np.zeros(11), 0.0, False, False, {}))[1]
    for _ in range(50):
        env.step(outermost)
    assert np.abs(seen).max() == 1.0 and 0.4 < np.mean(np.array(seen) < 1.0) < 0.6


def test_the_table_has_a_row_for_each_agent(tmp_path, capsys, monkeypatch):
    cells, out = tmp_path / "cells", tmp_path / "robustness.json"
    command = ["--algo", "flowsac", "sac", "--env", "Hopper-v5", "--seed", "0", "--steps", "120", "--eval-freq", "60"]
    monkeypatch.setattr(sys, "argv", ["", *command, "--eval-episodes", "1", "--out", str(cells)])
    train_cells()
    capsys.readouterr()
    given = ["", "--results", str(cells), "--env", "Hopper-v5", "--episodes", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", given)
    robustness.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| Hopper-v5, {name}, 120 steps" for name in ("flowsac", "sac")]
    found = json.loads(out.read_text())["Hopper-v5, sac, 120 steps"]["returns"]
    assert list(found) == list(DISTURBANCES) and np.array(list(found.values())).shape == (9, 1, 2)
    (cells / "Hopper-v5" / "sac" / "0" / "model.zip").unlink()
    out.write_text(out.read_text().replace(str(found["none"][0][0]), "12345.0"))
    robustness.main()
    assert json.loads(out.read_text())["Hopper-v5, sac, 120 steps"]["returns"]["none"][0][0] == 12345.0  # as it was
    monkeypatch.setattr(sys, "argv", [*given[:2], str(tmp_path), *given[3:]])
    with pytest.raises(FileNotFoundError, match="no cell"):
        robustness.main()
