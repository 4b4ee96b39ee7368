"""The model card beside a saved policy: what it says, that its code runs, and tables of results."""

import re

import numpy as np
import pytest
import stable_baselines3
import torch
import yaml
from small_policies import ACTION, CARD, MIXED, VECTOR, new, observations

import sb3_flowsac
from sb3_flowsac import MultiInputPolicy, save_policy


@pytest.fixture
def saved(tmp_path):
    save_policy(new(), tmp_path)
    return tmp_path


def card_of(folder):
    """The front matter and the text of a model card."""
    _, front, text = (folder / CARD).read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_model_card_says_what_the_policy_is(tmp_path):
    save_policy(new(MultiInputPolicy, MIXED, squash_output=False), tmp_path)
    front, text = card_of(tmp_path)
    assert front["library_name"] == "stable-baselines3"
    assert {"stable-baselines3", "reinforcement-learning", "sb3-flowsac"} <= set(front["tags"])
    for space in (MIXED, ACTION):
        assert " ".join(str(space).split()) in text
    assert "MultiInputPolicy of FlowSAC" in text and "clipped to the Box" in text and "Results" not in text
    for version in (sb3_flowsac.__version__, stable_baselines3.__version__, torch.__version__):
        assert f"| {version} |" in text


def test_the_code_of_the_model_card_runs(tmp_path, monkeypatch):
    policy = new()
    save_policy(policy, tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", card_of(tmp_path / "folder")[1], flags=re.DOTALL)
    found = {"observation": observations(VECTOR)}
    exec(code, found)
    np.testing.assert_array_equal(found["action"], policy.predict(found["observation"], deterministic=True)[0])


def test_results_are_a_table_of_the_model_card(saved):
    save_policy(new(), saved, {"mean | return": -150.5, "seeds": "3\nruns"})
    assert "| mean \\| return | -150.5 |\n| seeds | 3 runs |\n" in card_of(saved)[1].split("## Results")[1]
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    for wrong in ({"returns": [1.0]}, {1: 2.0}, "good"):
        with pytest.raises(ValueError, match="results must be a dictionary of texts or numbers by name, got"):
            save_policy(new(seed=7), saved, wrong)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
