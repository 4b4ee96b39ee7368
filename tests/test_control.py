"""The matrix of control: cells of all algorithms, kept, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.control.__main__ import main
from experiments.control.best_of_n import EVALUATION_SEED, returns
from experiments.control.cells import cell
from experiments.runner.algorithms import ALGORITHMS
from experiments.runner.tasks import OtherStudyError, run_tasks

QUIET = Console(quiet=True)


def pendulum(out, name, steps=300, seed=0):
    return cell(name, "Pendulum-v1", seed, steps, eval_freq=100, eval_episodes=2, save_freq=100, out=out)


def curve(task):
    return pd.read_csv(task.folder / "evaluations.csv").drop(columns=["wall_seconds", "processor_seconds"])


@pytest.mark.parametrize("name", ["flowsac", "sac"])
def test_cell_leaves_its_curve_and_is_not_run_again(name, tmp_path):
    task = pendulum(tmp_path, name)
    (result,) = run_tasks([task], tmp_path, 1, QUIET)
    table = pd.read_csv(task.folder / "evaluations.csv")
    assert table["steps"].tolist() == [100, 200, 300]
    assert (np.diff(table["processor_seconds"]) > 0.0).all()
    npz = np.load(task.folder / "evaluations.npz")
    np.testing.assert_allclose(npz["results"], table[["return_0", "return_1"]])
    assert result["final_return"] == pytest.approx(npz["results"].mean())
    assert {path.name for path in task.folder.iterdir()} == {
        "evaluations.csv",
        "evaluations.npz",
        "lock",
        "model.zip",
        "result.json",
        "settings.json",
    }
    (task.folder / "model.zip").unlink()
    assert run_tasks([task], tmp_path, 1, QUIET) == [result]
    assert not (task.folder / "model.zip").exists()


@pytest.mark.parametrize("name", ["flowsac", "sac"])
def test_killed_cell_goes_on(name, tmp_path, monkeypatch):
    options = ["--algo", name, "--env", "Pendulum-v1", "--seed", "0", "--steps", "300", "--save-freq", "50"]
    options += ["--eval-freq", "50", "--eval-episodes", "1", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "experiments.control", *options]
    task = cell(name, "Pendulum-v1", 0, 300, 50, 1, 50, tmp_path)
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 120.0
    evaluations = task.folder / "evaluations.csv"
    while not evaluations.exists() or len(evaluations.read_text().splitlines()) < 4:  # headings, 50 to 150
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = curve(task)
    assert 2 <= len(before) < 6  # at 50, 100, ...: what follows the last checkpoint is trained again
    monkeypatch.setattr(sys, "argv", ["control", *options])
    main()
    after = curve(task)
    assert after["steps"].tolist() == list(range(50, 301, 50))
    pd.testing.assert_frame_equal(after[:2], before[:2])
    assert np.load(task.folder / "evaluations.npz")["timesteps"].tolist() == after["steps"].tolist()
    assert json.loads((task.folder / "result.json").read_text())["result"]["processor_seconds"] > 0.0


def test_other_settings_are_not_mixed(tmp_path):
    run_tasks([pendulum(tmp_path, "sac")], tmp_path, 1, QUIET)
    with pytest.raises(OtherStudyError, match="steps"):
        run_tasks([pendulum(tmp_path, "sac", steps=400)], tmp_path, 1, QUIET)
    (tmp_path / "Pendulum-v1" / "sac" / "0" / "result.json").unlink()
    with pytest.raises(OtherStudyError):
        run_tasks([pendulum(tmp_path, "sac", steps=400)], tmp_path, 1, QUIET)


def test_one_algorithm_does_not_depend_on_the_versions_of_another(tmp_path):
    assert "sb3-flowsac" in pendulum(tmp_path, "flowsac").identity["versions"]
    assert "sb3-flowsac" not in pendulum(tmp_path, "sac").identity["versions"]
    assert not [name for name in pendulum(tmp_path, "sac").identity["defaults"] if "Flow" in name]


class Ending(gym.Env):
    """Episodes of a length that their seed says, with a reward of 1 for each step."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 30))
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}


def test_returns_of_best_of_n_are_in_the_order_of_their_first_states(make_model):
    """Differences of two evaluations are of the same episodes, however long each is."""
    lengths = []
    for i in range(6):
        env = Ending()
        env.reset(seed=EVALUATION_SEED + i)
        lengths.append(env.left)
    assert lengths != sorted(lengths)
    assert returns(make_model(Ending()), Ending, len(lengths), deterministic=True).tolist() == lengths


def test_a_model_leaves_its_algorithm_s_arguments_as_they_are(tmp_path):
    """SB3 writes into policy_kwargs, and the result of a cell would be of other settings than the cell."""
    pytest.importorskip("sb3_contrib")
    before = pendulum(tmp_path, "crossq_256").identity
    ALGORITHMS["crossq_256"].make("Pendulum-v1")
    assert pendulum(tmp_path, "crossq_256").identity == before


@pytest.mark.parametrize("eval_freq", [0, 301])
def test_a_run_without_an_evaluation_is_refused(tmp_path, eval_freq):
    with pytest.raises(ValueError, match=rf"eval_freq .*steps=300, got {eval_freq}"):
        cell("sac", "Pendulum-v1", 0, 300, eval_freq, eval_episodes=1, save_freq=100, out=tmp_path)
