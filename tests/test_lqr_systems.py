"""The study of many systems: what it runs, and its page, with runs that take no time."""

import json
import re

import numpy as np
import pytest

import maxent_envs
from experiments.lqr import systems

OURS, LITERATURE, RANDOM = 4, 7, 5


def made_up(spec):
    """What a run gives; those of the quadrotor at seed 1 have not learnt."""
    problem, failed = spec.problem, spec.seed == 1 and spec.problem == maxent_envs.preset("quadrotor")
    row = {
        "alpha": spec.alpha,
        "seed": spec.seed,
        "timesteps": spec.timesteps,
        "mean_error": 0.3 if failed else 0.01,
        "cov_error": 0.02,
        "mean_floor": 0.0,
        "cov_floor": 0.0,
        "return": -10.5,
        "optimal_return": -10.0,
        "return_se": 0.0,
        "critic_residual": 1e-4,
        "seconds": 7.0,
        "verdict": "not yet" if failed else "learnt",
    }
    rng = np.random.default_rng(0)
    examples = {
        "states": rng.standard_normal((3, problem.n_states)).tolist(),
        "actions": rng.standard_normal((3, 50, problem.n_inputs)).tolist(),
    }
    return {"row": row, "history": [], "examples": examples}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("systems")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(systems, "execute", made_up)
        entries = systems.run_systems(alphas=[0.1, 2.0], seeds=[1, 0], out=out, command="python -m made.up")
    return out, entries


def test_every_system_is_run(study):
    _, entries = study
    assert len(entries) == 2 * 2 * LITERATURE + OURS + RANDOM
    assert {entry["system"] for entry in entries} >= set(maxent_envs.PRESETS)
    assert [entry["seed"] for entry in entries if entry["system"].startswith("random")] == [0, 1, 2, 3, 4]


def test_the_page_counts_runs_and_shows_the_worst(study):
    out, entries = study
    page = (out / "lqr_systems.md").read_text()
    assert "python -m made.up" in page
    assert "| `quadrotor` | 0.1 | 30.0% | 2.0% | 5.0% | 1 of 2 | 7 s |" in page
    assert "| `boeing-747` | 2 | 1.0% | 2.0% | 5.0% | 2 of 2 | 7 s |" in page
    assert f"| `random` | {systems.RANDOM_ALPHA:g} | 1.0% | 2.0% | 5.0% | 5 of 5 | 7 s |" in page
    assert len(re.findall(r"^\| `", page, flags=re.MULTILINE)) == 2 * LITERATURE + OURS + 1
    kept = json.loads((out / "lqr_systems.json").read_text())
    assert (kept["command"], kept["runs"]) == ("python -m made.up", entries)


def test_the_picture_is_small(study):
    out, _ = study
    picture = (out / "lqr_systems.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 150_000
