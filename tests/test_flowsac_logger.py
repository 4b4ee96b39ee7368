"""What a run logs, under which names, and that the figures are what their names say."""

import json
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sb3_flowsac import HoldThenLinearSchedule

ALWAYS = {
    "train/actor_loss",
    "train/critic_loss",
    "train/q_value",
    "train/ent_coef",
    "train/entropy",
    "train/log_prob",
    "train/ess",
    "train/irregular_fraction",
    "train/renyi_2",
    "train/renyi_4",
    "train/max_weight",
    "train/log_prob_bias",
    "train/pathwise_loss",
    "train/isfm_loss",
    "train/temper",
    "train/clip_fraction",
    "train/learning_rate",
}
ROLLOUT = {"rollout/ep_len_mean", "rollout/ep_rew_mean", "time/fps"}


def run(make_model, folder, **kwargs):
    """Records of a run of two episodes and a bit: from the JSON file, and the names in TensorBoard."""
    env = gym.make("Pendulum-v1", max_episode_steps=75)
    model = make_model(env, learning_starts=45, policy_delay=1, isfm_interval=1, **kwargs)
    model.set_logger(configure(str(folder), ["json", "tensorboard", "csv"]))
    model.learn(160, log_interval=1)
    records = [json.loads(line) for line in (folder / "progress.json").read_text().splitlines()]
    events = EventAccumulator(str(folder))
    events.Reload()
    return records, set(events.Tags()["scalars"])


@pytest.mark.parametrize("ent_coef", ["auto", 0.2])
def test_names(make_model, tmp_path, ent_coef):
    records, tensorboard = run(make_model, tmp_path, ent_coef=ent_coef)
    expected = ALWAYS | ROLLOUT | ({"train/ent_coef_loss"} if ent_coef == "auto" else set())
    assert expected <= set(records[-1])
    assert {name for name in records[-1] if name.startswith("train/")} == {
        n for n in expected if n.startswith("train/")
    } | {"train/n_updates"}
    assert expected <= tensorboard
    assert "train/n_updates" not in tensorboard


@pytest.mark.parametrize("squashed", [True, False], ids=["squashed", "unsquashed"])
def test_values(make_model, tmp_path, squashed):
    policy_kwargs = {"squash_output": squashed, "log_std_init": 0.0}
    records, _ = run(make_model, tmp_path, ent_coef=0.2, policy_kwargs=policy_kwargs, batch_size=1000)
    last = records[-1]
    assert all(math.isfinite(value) for name, value in last.items() if name.startswith("train/"))
    assert last["train/n_updates"] == 149 - 45  # the records of step 150 are written before its gradient step
    assert last["train/ent_coef"] == pytest.approx(0.2)
    assert last["train/learning_rate"] == pytest.approx(HoldThenLinearSchedule(1e-3)(1 - 149 / 160))
    assert last["train/entropy"] == pytest.approx(-last["train/log_prob"])
    assert 1 / 8 <= last["train/ess"] <= 1 and 1 / 8 <= last["train/max_weight"] <= 1
    assert 0 <= last["train/renyi_2"] <= last["train/renyi_4"] <= math.log(8)
    if squashed:
        assert last["train/clip_fraction"] == 0.0
        # No density on [-1, 1] has more than log 2; the mean of 1,000 draws errs by some hundredths (a unit of 2 by log
        # 2)
        assert last["train/entropy"] <= math.log(2) + 4 * 0.5 / math.sqrt(1000)
    else:
        assert 0.05 < records[0]["train/clip_fraction"] < 1  # later the policy has moved into the box


def test_ess_is_a_fraction_and_agrees_with_renyi_2(make_model):
    """Of each state ESS / N = exp(-R_2); of their means Jensen's inequality remains."""
    model = make_model("Pendulum-v1", ent_coef=0.2).learn(60)
    values = model.logger.name_to_value
    assert values["train/ess"] >= math.exp(-values["train/renyi_2"]) - 1e-6


def test_a_fixed_learning_rate_and_alpha_are_logged_as_they_are_used(make_model):
    model = make_model("Pendulum-v1", ent_coef="auto_0.3", learning_rate=1e-2).learn(60)
    values = model.logger.name_to_value
    assert values["train/ent_coef"] != pytest.approx(0.3, abs=1e-6)
    assert values["train/ent_coef"] == pytest.approx(model.entropy_coefficient().item(), rel=0.1)
    assert np.isfinite(values["train/ent_coef_loss"])


def test_the_bias_of_the_trace_integral_falls_with_the_steps(make_model, perturb):
    """Of a new policy, whose field is zero, there is none; a midpoint step errs by the square of its length or less."""
    biases = []
    for ode_steps, scale in ((1, 0.0), (2, 0.1), (16, 0.1)):
        model = make_model("Pendulum-v1", policy_kwargs={"ode_steps": ode_steps}, learning_rate=0.0)
        perturb(model.actor, scale)
        torch.manual_seed(1)
        model.actor_batch_size = None
        states = torch.randn(500, 3), torch.tensor(1.0)
        biases.append(abs(model.improve_actor(*states)["log_prob_bias"].item()))
    assert biases[0] < 1e-6 < biases[1] and biases[2] < biases[1] / 16
