"""Every script of examples/ runs, in its short form."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
SAID = {
    "callbacks_and_evaluation.py": "deterministic=False: mean return -",
    "goals.py": "-25 is never at the goal",
    "images.py": "mean return -",
    "lqr_optimum.py": "covariance error",
    "multimodal_bandit.py": "KL to the optimum: ",
    "normalized.py": "mean return -",
    "own_critic.py": "mean Q value (train/q_value): ",
    "own_environment.py": "mean return -",
    "own_field.py": "in nats: ",
    "own_sampling_distribution.py": "(train/ess): 0.",
    "own_solver.py": "log-densities: ",
    "resume.py": "120 steps done",
    "train_and_save.py": "entropy in nats",
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("script", SCRIPTS)
def test_example_runs(script, tmp_path, monkeypatch, capsys, short_runs):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr(sys, "argv", [script, "--steps", "1120"])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert SAID[script] in capsys.readouterr().out


def test_the_list_names_every_script():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"[`{script}`]({script})" in text for script in SCRIPTS)
