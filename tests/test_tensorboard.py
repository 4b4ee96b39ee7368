"""Figures and hyperparameters in TensorBoard, read back from its files, and the metrics in SB3's other formats."""

import csv
import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from maxent_envs import LQRProblem, Target
from sb3_flowsac.callbacks import FigureCallback, HParamsCallback, ResumableCheckpoint, hyperparameters
from sb3_flowsac.evaluation.known_optimum import task_of

FORMATS = ["stdout", "log", "csv", "json", "tensorboard"]
METRICS = {"train/ess", "train/critic_loss", "train/entropy", "rollout/ep_rew_mean"}
POLICY = {"figures/action_density", "figures/flow_paths", "figures/weights"}


def learn(model, folder, callback, steps=40):
    """A run that logs in every format, and what TensorBoard has of it."""
    model.set_logger(configure(str(folder), FORMATS))
    model.learn(steps, callback=callback, log_interval=1)
    return EventAccumulator(str(folder), {"images": 0}).Reload()


def test_every_format_gets_the_metrics_and_tensorboard_the_figures(make_model, tmp_path, capsys):
    model = make_model("BoltzmannBandit-v0", ent_coef=0.1, policy_delay=4)
    events = learn(model, tmp_path, [FigureCallback(30), HParamsCallback()])
    assert set(events.Tags()["images"]) == POLICY | {"figures/against_target"}
    for key in events.Tags()["images"]:
        assert [picture.step for picture in events.Images(key)] == [30, 40]
        assert all(picture.encoded_image_string.startswith(b"\x89PNG") for picture in events.Images(key))
    assert events.Images("figures/weights")[0] != events.Images("figures/weights")[1]
    assert set(events.Tags()["scalars"]) >= METRICS
    rows = [json.loads(line) for line in (tmp_path / "progress.json").read_text().splitlines()]
    with open(tmp_path / "progress.csv") as file:
        table = list(csv.DictReader(file))
    printed = capsys.readouterr().out
    for key in METRICS:
        values = [row[key] for row in rows if key in row]
        assert [event.value for event in events.Scalars(key)] == pytest.approx(values, rel=1e-6)
        assert [float(row[key]) for row in table if row[key]] == pytest.approx(values)
        assert key.partition("/")[2] in printed
    for key in {key for row in rows for key in row} | set(table[0]):
        assert not key.startswith(("figures", "hparams"))


def test_the_lqr_s_optimum_is_drawn_and_the_last_step_once(make_model, tmp_path):
    model = make_model("MaxEntLQR-v0", gamma=0.95, ent_coef=0.5, policy_kwargs={"squash_output": False})
    events = learn(model, tmp_path, FigureCallback(25, n_states=2), steps=25)
    assert set(events.Tags()["images"]) == POLICY | {"figures/against_optimum"}
    assert [picture.step for picture in events.Images("figures/against_optimum")] == [25]


def test_training_is_the_same_with_and_without(make_model):
    with_callback = make_model("Pendulum-v1").learn(50, callback=[FigureCallback(30), HParamsCallback()])
    torch_state = torch.get_rng_state()
    without = make_model("Pendulum-v1").learn(50)
    assert torch.equal(torch.get_rng_state(), torch_state)
    ours, theirs = with_callback.policy.state_dict(), without.policy.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_given_observations_are_drawn(make_model, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "sb3_flowsac.callbacks.figures.policy_figures", lambda model, obs, *rest: seen.append((obs, rest)) or {}
    )
    mine = np.zeros((4, 3), np.float32)
    model = make_model(make_vec_env("Pendulum-v1", n_envs=2)).learn(20, callback=FigureCallback(10, 2, mine))
    assert seen == [(mine, (None, 2))]
    model.learn(20, callback=(callback := FigureCallback(5)))
    assert seen[1][0].shape == (64, 3) and seen[1][0] is seen[2][0]
    np.testing.assert_array_equal(callback.observations[0], model.replay_buffer.observations[0, 0])


@pytest.mark.parametrize("env", ["MaxEntLQR-v0", "goals"])
def test_a_resumed_run_draws_the_same_states(make_model, tmp_path, env):
    def run(steps):
        checkpoint, figures = ResumableCheckpoint(tmp_path, save_freq=10), FigureCallback(20)
        if env == "goals":
            model = make_model(BitFlippingEnv(n_bits=3, continuous=True), "MultiInputPolicy", learning_rate=1e-3)
        else:
            model = make_model(env, learning_rate=1e-3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SB3's goals have no state to save
            model.learn(steps, callback=[checkpoint, figures])
        return model, figures.observations

    first, drawn = run(20)
    resumed, again = run(30)
    assert resumed.replay_buffer.size() > first.replay_buffer.size()
    for key in drawn if isinstance(drawn, dict) else [...]:
        np.testing.assert_array_equal(again[key], drawn[key])


def test_numbers_and_dictionaries_are_observations_too(make_model):
    env = BitFlippingEnv(n_bits=3, continuous=True, discrete_obs_space=True)
    model = make_model(env, "MultiInputPolicy").learn(5, callback=(callback := FigureCallback(5)))
    assert {key: value.shape for key, value in callback.observations.items()} == dict.fromkeys(
        env.observation_space.spaces, (64,)
    )
    assert model.predict(callback.observations)[0].shape == (64, 3)


def test_tasks_are_known_unless_a_wrapper_changes_them():
    assert isinstance(task_of(make_vec_env("BoltzmannBandit-v0")), Target)
    assert isinstance(task_of(make_vec_env("MaxEntLQR-v0")), LQRProblem)
    assert task_of(make_vec_env("Pendulum-v1")) is None
    rescaled = {"wrapper_class": gym.wrappers.RescaleAction, "wrapper_kwargs": {"min_action": -0.5, "max_action": 0.5}}
    assert task_of(make_vec_env("BoltzmannBandit-v0", **rescaled)) is None
    for name in ("BoltzmannBandit-v0", "MaxEntLQR-v0"):
        assert task_of(VecFrameStack(make_vec_env(name), 2)) is None
        assert task_of(VecNormalize(make_vec_env(name))) is None
        assert task_of(VecNormalize(make_vec_env(name), norm_reward=False)) is not None
    assert (
        task_of(DummyVecEnv([lambda a=a: gym.make("MaxEntLQR-v0", preset=a) for a in ("default", "unstable")])) is None
    )
    for names, is_one in ((("rotating_mixture",) * 2, True), (("rotating_mixture", "unequal_modes"), False)):
        env = DummyVecEnv([lambda name=name: gym.make("BoltzmannBandit-v0", target=name) for name in names])
        assert (task_of(env) is not None) is is_one  # the same class with other numbers is another target


def test_hyperparameters_reach_the_tab(make_model, tmp_path):
    model = make_model("BoltzmannBandit-v0", ent_coef=0.25, policy_kwargs={"ode_steps": 2})
    events = learn(model, tmp_path, HParamsCallback(metrics=["train/ess", "mine/metric"]), steps=5)
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    logged = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert logged["ent_coef"].number_value == 0.25
    assert logged["algorithm"].string_value == "FlowSAC" and logged["train_freq"].string_value == '[1, "step"]'
    assert logged["policy_kwargs.ode_steps"].number_value == 2
    content = events.SummaryMetadata("_hparams_/experiment").plugin_data.content
    metrics = plugin_data_pb2.HParamsPluginData.FromString(content).experiment.metric_infos
    assert [metric.name.tag for metric in metrics] == ["train/ess", "mine/metric"]
    assert "mine/metric" not in events.Tags()["scalars"]


def test_hyperparameters_name_no_place_and_fit_other_algorithms(make_model):
    ours = hyperparameters(make_model("Pendulum-v1", tensorboard_log="here", learning_rate=lambda progress: 1e-3))
    assert {"n_proposals", "sampling_distribution", "seed", "stats_window_size"} <= ours.keys()
    assert not {"env", "device", "tensorboard_log", "verbose", "self"} & ours.keys()
    theirs = hyperparameters(SAC("MlpPolicy", "Pendulum-v1", buffer_size=10))
    assert theirs["algorithm"] == "SAC" and theirs["tau"] == 0.005
    assert not any(" at 0x" in str(value) for value in [*ours.values(), *theirs.values()])


@pytest.mark.filterwarnings("error::UserWarning:stable_baselines3")
def test_no_line_of_the_log_is_empty(make_model, tmp_path):
    learn(make_model("Pendulum-v1"), tmp_path, [FigureCallback(10), HParamsCallback()], steps=10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FigureCallback(0), "freq must be .*got 0"),
        (lambda: FigureCallback(n_states=0), "n_states must be .*got 0"),
        (lambda: HParamsCallback([]), r"metrics must be a list of one key of the log or more, got \[\]"),
        (lambda: HParamsCallback("train/ess"), "metrics must be a list .*got 'train/ess'"),
        (
            lambda: SAC("MlpPolicy", "Pendulum-v1", buffer_size=10).learn(1, FigureCallback()),
            "a FlowSAC model, got SAC",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
