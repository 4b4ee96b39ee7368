"""LQROptimalityCallback: what it logs, what it refuses, and that it leaves training alone."""

import csv
import json
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Figure, configure
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import maxent_envs
from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import LQROptimalityCallback
from sb3_flowsac.evaluation.policies import LearntPolicy
from sb3_flowsac.evaluation.rollouts import paired_returns

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
SMALL = {"n_states": 4, "n_actions": 50, "n_rollouts": 16, "horizon": 5}
KEYS = {"lqr/mean_error", "lqr/cov_error", "lqr/return", "lqr/optimal_return"}


def make_model(env="MaxEntLQR-v0", **changes):
    settings = {
        "gamma": 0.95,
        "ent_coef": 0.5,
        "learning_starts": 20,
        "batch_size": 16,
        "seed": 3,
        "policy_kwargs": {"squash_output": False, "net_arch": [16], "ode_steps": 1},
    }
    return FlowSAC("FlowPolicy", env, **{**settings, **changes})


def make_callback(eval_freq=20, **changes):
    return LQROptimalityCallback(eval_freq, **{**SMALL, **changes})


def start(model, callback):
    """What happens to a callback when training starts, without training."""
    callback.init_callback(model)
    return callback


def train(callback):
    """A trained model and the state of the global generators after it."""
    model = make_model().learn(60, callback=callback)
    return model, torch.get_rng_state(), np.random.get_state()[1].copy()


def test_training_is_the_same_with_and_without():
    with_callback, torch_state, numpy_state = train(make_callback())
    without, other_torch_state, other_numpy_state = train(None)
    parameters, expected = with_callback.policy.state_dict(), without.policy.state_dict()
    assert parameters.keys() == expected.keys()
    assert all(torch.equal(parameters[name], expected[name]) for name in expected)
    assert np.array_equal(with_callback.replay_buffer.actions, without.replay_buffer.actions)
    assert torch.equal(torch_state, other_torch_state)
    assert np.array_equal(numpy_state, other_numpy_state)


@pytest.mark.parametrize("mode", [True, False])
def test_evaluation_restores_the_mode(mode):
    model = make_model(policy_kwargs={"net_arch": [16]})
    model.policy.set_training_mode(mode)
    modes = [module.training for module in model.policy.modules()]
    LearntPolicy(model).sample(np.zeros((2, 2)), 3, torch.Generator())
    assert [module.training for module in model.policy.modules()] == modes


def test_logs_to_every_format_and_the_figure_to_tensorboard_only(tmp_path, capsys):
    model = make_model()
    model.set_logger(configure(str(tmp_path), ["stdout", "log", "csv", "json", "tensorboard"]))
    model.learn(40, callback=make_callback(eval_freq=20))
    assert "cov_error" in capsys.readouterr().out
    with open(tmp_path / "progress.csv") as file:
        assert set(next(csv.reader(file))) >= KEYS
    rows = [json.loads(line) for line in (tmp_path / "progress.json").read_text().splitlines()]
    assert [row["time/total_timesteps"] for row in rows if "lqr/return" in row] == [20, 40]
    assert all("lqr/actions" not in row for row in rows)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) >= KEYS
    assert [image.step for image in events.Images("lqr/actions")] == [20, 40]


def test_records_a_figure_that_text_formats_skip(monkeypatch):
    model, callback = make_model(), make_callback(eval_freq=10)
    model.set_logger(configure(None, []))
    recorded = {}
    monkeypatch.setattr(
        model.logger, "record", lambda key, value, exclude=None: recorded.update({key: (value, exclude)})
    )
    model.learn(10, callback=callback)
    figure, excluded = recorded["lqr/actions"]
    assert isinstance(figure, Figure)
    assert set(excluded) == {"stdout", "log", "csv", "json"}


def test_history_ends_with_the_last_step_and_repeats_with_the_seed():
    first, second = make_callback(eval_freq=15), make_callback(eval_freq=15)
    make_model().learn(40, callback=first)
    make_model().learn(40, callback=second)
    assert [point["timesteps"] for point in first.history] == [15, 30, 40]
    assert first.history == second.history
    assert {f"lqr/{key}" for key in first.history[0]} >= KEYS


def test_fixed_temperature_compares_with_its_optimum():
    model, callback = make_model(), make_callback(n_rollouts=4000, horizon=20)
    model.learn(10, callback=callback)
    point = callback.history[-1]
    expected = callback.problem.solve(0.5).expected_return(horizon=20)
    assert point["optimal_return"] == pytest.approx(expected, rel=0.04)  # four standard errors of the mean of 4,000


def test_learnt_temperature_compares_with_the_optimum_of_the_current_one():
    model, callback = make_model(ent_coef="auto_0.3", learning_rate=0.05), make_callback(eval_freq=30)
    model.learn(61, callback=callback)  # the last evaluation comes after the last update
    alpha = model.entropy_coefficient().item()
    assert alpha != pytest.approx(0.3, rel=0.05)
    solution = callback.problem.solve(alpha)
    returns, _ = paired_returns(LearntPolicy(model), solution, n_rollouts=16, horizon=5, seed=0)
    assert callback.history[-1]["optimal_return"] == returns["optimal_return"]
    assert callback.history[0]["optimal_return"] != returns["optimal_return"]


def test_verbose_prints_a_line(capsys):
    make_model().learn(10, callback=make_callback(verbose=1))
    assert "10 steps: mean error" in capsys.readouterr().out


def test_works_with_several_environments_and_a_monitor():
    callback = start(make_model(make_vec_env("MaxEntLQR-v0", n_envs=2)), make_callback())
    assert callback.problem == maxent_envs.preset()


def test_works_with_environments_in_processes():
    env = SubprocVecEnv([lambda: gym.make("maxent_envs:MaxEntLQR-v0", preset="scalar")], start_method="fork")
    try:
        callback = start(make_model(env), make_callback())
        assert callback.problem == maxent_envs.preset("scalar")
    finally:
        env.close()


def test_normalised_observations_are_what_the_policy_sees():
    env = VecNormalize(make_vec_env("MaxEntLQR-v0", n_envs=2, seed=0), norm_reward=False, gamma=0.95)
    model, callback = make_model(env), make_callback()
    model.learn(40, callback=callback)
    statistics = env.obs_rms.mean.copy(), env.obs_rms.var.copy(), env.obs_rms.count
    states = np.array([[1.0, -2.0], [0.3, 0.1]])
    drawn, _ = LearntPolicy(model).sample(states, 3, torch.Generator().manual_seed(0))
    expected, _ = model.policy.sample(env.normalize_obs(states.astype(np.float32)), 3, torch.Generator().manual_seed(0))
    assert np.array_equal(drawn, expected.detach().numpy())
    assert np.array_equal(statistics[0], env.obs_rms.mean)
    assert statistics[2] == env.obs_rms.count


def test_another_discount_is_refused():
    with pytest.raises(ValueError, match=r"model\.gamma=0\.99 must be the problem's gamma=0\.95"):
        make_model(gamma=0.99).learn(10, callback=make_callback())


def wrapped(wrapper, **arguments):
    return DummyVecEnv([lambda: wrapper(gym.make("MaxEntLQR-v0"), **arguments)])


def two_problems():
    return DummyVecEnv([lambda: gym.make("MaxEntLQR-v0"), lambda: gym.make("MaxEntLQR-v0", preset="unstable")])


@pytest.mark.parametrize(
    ("make_env", "message"),
    [
        (lambda: gym.make("Pendulum-v1"), "MaxEntLQR-v0"),
        (lambda: wrapped(gym.wrappers.RescaleAction, min_action=-1.0, max_action=1.0), "ActionWrapper"),
        (lambda: wrapped(gym.wrappers.TransformReward, func=lambda reward: 2 * reward), "RewardWrapper"),
        (lambda: wrapped(gym.wrappers.NormalizeReward), "NormalizeReward"),
        (lambda: wrapped(gym.wrappers.FlattenObservation), "ObservationWrapper"),
        (lambda: wrapped(gym.wrappers.FrameStackObservation, stack_size=2), "shapes"),
        (lambda: VecNormalize(make_vec_env("MaxEntLQR-v0"), gamma=0.95), "norm_reward"),
        (two_problems, "problem"),
    ],
)
def test_another_task_is_refused(make_env, message):
    with pytest.raises(ValueError, match=message):
        start(make_model(make_env()), make_callback())


def test_another_algorithm_is_refused():
    with pytest.raises(ValueError, match="needs a FlowSAC or SAC model, got TD3"):
        start(TD3("MlpPolicy", "MaxEntLQR-v0", gamma=0.95, policy_kwargs={"net_arch": [8]}), make_callback())


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("eval_freq", 0),
        ("eval_freq", 2.5),
        ("n_states", 0),
        ("n_states", 81),
        ("n_actions", 1),
        ("n_rollouts", 1),
        ("horizon", 0),
        ("seed", -1),
    ],
)
def test_arguments_out_of_range_are_named(argument, value):
    with pytest.raises(ValueError, match=rf"{argument} must be .*got {value}"):
        make_callback(**{argument: value})


def test_the_page_on_metrics_names_every_key(tmp_path):
    model = make_model(ent_coef="auto", learning_starts=5)
    model.set_logger(configure(str(tmp_path), ["json"]))
    model.learn(210, callback=make_callback(eval_freq=70), log_interval=1)
    lines = (tmp_path / "progress.json").read_text().splitlines()
    logged = {key for line in lines for key in json.loads(line)} | {"lqr/actions"}
    named = set(re.findall(r"`((?:train|rollout|time|lqr)/\w+)`", PAGE.read_text(encoding="utf-8")))
    assert named == logged | {"rollout/success_rate"}  # which only some environments report
