"""The agents of the repository: from a finished cell to a folder, played beside their cards, pushed to a hub."""

import json
import shutil
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from experiments.control import agents
from experiments.control.cells import cell
from experiments.runner.tasks import run_tasks
from sb3_flowsac import load_policy, pretrained, save_policy
from sb3_flowsac.cli import main
from sb3_flowsac.files.loading import load_saved
from sb3_flowsac.show import states

KEPT = {path.parent.name: path.parent for path in pretrained.AGENTS.glob("*/README.md")}
QUICK = KEPT.keys() & {"MaxEntLQR-v0", "MultiGoal-v0", "Pendulum-v1"}  # whose episodes take a moment
FILES = {"README.md", "config.json", "model.safetensors"}


class FakeHub:
    """What ``flowsac push`` asks of ``HfApi``; ``repositories`` holds the files that would have been uploaded."""

    repositories: dict[str, dict[str, bytes]]

    def create_repo(self, repo_id, exist_ok):
        self.repositories.setdefault(repo_id, {})
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, repo_id, folder_path, allow_patterns):
        files = [path for path in Path(folder_path).iterdir() if path.name in allow_patterns]
        self.repositories[repo_id] |= {path.name: path.read_bytes() for path in files}


@pytest.fixture
def hub(monkeypatch):
    """The fake hub's repositories."""
    FakeHub.repositories = {}
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    return FakeHub.repositories


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Cells of two seeds; the second's last evaluations are better."""
    out = tmp_path_factory.mktemp("cells")
    task = cell("flowsac", "Pendulum-v1", 0, 120, eval_freq=60, eval_episodes=1, save_freq=1000, out=out)
    run_tasks([task], out, 1, Console(quiet=True))
    better = shutil.copytree(task.folder, task.folder.with_name("3"))
    content = json.loads((better / "result.json").read_text())
    content["settings"]["seed"] = 3
    (better / "result.json").write_text(json.dumps(content))
    pd.read_csv(better / "evaluations.csv").assign(return_0=-1.0).to_csv(better / "evaluations.csv", index=False)
    return out


@pytest.fixture
def agent(results, tmp_path, monkeypatch, capsys):
    """The folder that the command makes of the cells, in place of those of the repository."""
    monkeypatch.setattr(sys, "argv", ["agents", "--results", str(results), "--out", str(tmp_path), "--episodes", "2"])
    agents.main()
    capsys.readouterr()
    monkeypatch.setattr(pretrained, "AGENTS", tmp_path)
    return tmp_path / "Pendulum-v1"


def claim(folder):
    """Environment, mean and standard deviation, as the hub reads them."""
    front_matter = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert {"stable-baselines3", "sb3-flowsac"} <= set(front_matter["tags"])
    (result,) = front_matter["model-index"][0]["results"]
    mean, std = map(float, result["metrics"][0]["value"].split(" +/- "))
    return result["dataset"]["type"], mean, std


def error_of(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return str(stop.value.code) + capsys.readouterr().err


def test_the_card_says_how_the_best_seed_was_trained(agent):
    assert {path.name for path in agent.iterdir()} == FILES
    text = (agent / "README.md").read_text(encoding="utf-8")
    assert "| seed | 3, the best of 0, 3 in" in text
    options = "--algo flowsac --env Pendulum-v1 --seed 3 --steps 120 --eval-freq 60 --eval-episodes 1"
    assert f"`python -m experiments.control {options}`" in text
    environment, mean, std = claim(agent)
    assert (
        environment == "Pendulum-v1" and f"| return of 2 episodes, deterministic | {mean:.2f} +/- {std:.2f} |" in text
    )


def test_half_of_the_bytes_give_the_same_policy(agent, results):
    model = load_saved(results / "Pendulum-v1" / "flowsac" / "3" / "model.zip")
    policy, obs = load_policy(agent, device="cpu"), np.array([[0.6, 0.8, 0.5]], np.float32)
    np.testing.assert_allclose(
        policy.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0], atol=0.01
    )
    save_policy(model.policy, full := agent.with_name("full"))
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (agent, full)]
    assert sizes[0] < 0.55 * sizes[1]


def test_only_finished_cells_with_a_model_become_agents(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.zip"):
        agents.finished_cells(tmp_path, "Pendulum-v1")


def test_enjoy_prints_the_return_beside_the_cards(agent, capsys):
    assert main(["enjoy", "--pretrained", "Pendulum-v1", "--episodes", "2", "--no-render"]) == 0
    _, mean, std = claim(agent)
    said = capsys.readouterr().out
    assert said.startswith("Return of 2 episodes: -") and said.endswith(f"card says {mean:.2f} +/- {std:.2f}\n")


def test_what_cannot_be_played_is_named(agent, capsys):
    assert "Pendulum-v1; got 'Hopper-v0'" in error_of(["enjoy", "--pretrained=Hopper-v0"], capsys)
    agent.rename(agent.with_name("Absent-v0"))  # as an environment whose package is not there
    assert "--pretrained" in (said := error_of(["enjoy", "--pretrained", "Absent-v0"], capsys)) and "`Absent`" in said
    agent.with_name("Absent-v0").rename(agent)
    assert "episodes" in error_of(["enjoy", "--pretrained", "Pendulum-v1", "--episodes", "0"], capsys)
    assert "--stochastc" in error_of(["enjoy", "--pretrained", "Pendulum-v1", "--stochastc"], capsys)


def test_push_uploads_a_folder_as_it_is(agent, hub, capsys):
    (agent / "notes.txt").write_text("mine")
    assert main(["push", str(agent), "user/pendulum"]) == 0
    assert capsys.readouterr().out == "https://hub.example/user/pendulum\n"
    assert hub == {"user/pendulum": {name: (agent / name).read_bytes() for name in FILES}}


def test_push_leaves_pickles_at_home(results, hub, tmp_path):
    assert main(["push", str(results / "Pendulum-v1" / "flowsac" / "0" / "model.zip"), "user/pendulum"]) == 0
    assert hub["user/pendulum"].keys() == FILES
    for name, content in hub["user/pendulum"].items():
        (tmp_path / name).write_bytes(content)
    load_policy(tmp_path)


def test_push_refuses_what_cannot_be_loaded(agent, hub, capsys):
    (agent / "model.safetensors").write_bytes(b"cut short")
    assert "argument MODEL" in error_of(["push", agent, "user/pendulum"], capsys)
    assert not hub


@pytest.mark.parametrize("environment", KEPT)
def test_kept_agents_are_small_and_load(environment):
    assert claim(KEPT[environment])[0] == environment
    assert sum(path.stat().st_size for path in KEPT[environment].iterdir()) < 1e6
    policy = load_policy(KEPT[environment], device="cpu")
    assert policy.action_space.contains(policy.predict(np.zeros(policy.observation_space.shape, np.float32))[0])


@pytest.mark.parametrize("environment", sorted(QUICK))
def test_kept_agents_do_what_their_cards_say(environment, capsys):
    obs, _ = states(load_saved(KEPT[environment]), environment)  # what flowsac show draws
    assert len(obs) == 64
    episodes = 30
    main(["enjoy", "--pretrained", environment, "--episodes", str(episodes), "--no-render"])
    _, mean, std = claim(KEPT[environment])
    found = float(capsys.readouterr().out.split(": ")[1].split(" +/- ")[0])
    assert abs(found - mean) < 4.0 * std * (1 / episodes + 1 / 100) ** 0.5
