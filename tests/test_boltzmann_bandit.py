"""BoltzmannBandit-v0: the reward is the log-density, an episode is one step."""

import json
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

from maxent_envs import BoltzmannBanditEnv, Target
from maxent_envs.targets import TARGETS, Ring, SharpGaussian


class Slope(Target):
    """A user's target: p(a|s) = (1 + s a) / 2 with s = 1/2."""

    def __init__(self):
        super().__init__(state_dim=1, action_dim=1)

    def sample_states(self, n, rng):
        return np.full((n, 1), 0.5)

    def log_density(self, states, actions):
        return np.log(0.5 + 0.5 * states * actions[..., 0])

    def sample(self, states, n, rng):
        return (np.sqrt((1.0 - states) ** 2 + 4.0 * states * rng.random((len(states), n))) - 1.0)[..., None] / states[
            ..., None
        ]


def name_of(target):
    return target if isinstance(target, str) else type(target).__name__


@pytest.mark.parametrize("target", [*TARGETS, Slope(), SharpGaussian(38)], ids=name_of)
def test_checkers_are_silent(target):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check_env(gym.make("BoltzmannBandit-v0", target=target, disable_env_checker=True).unwrapped)
        sb3_check_env(gym.make("BoltzmannBandit-v0", target=target))


@pytest.mark.parametrize("target", [*TARGETS, Slope()], ids=name_of)
def test_reward_is_the_log_density_of_what_is_seen(target):
    env, rng = gym.make("BoltzmannBandit-v0", target=target, temperature=0.3), np.random.default_rng(0)
    density = env.unwrapped.target.log_density
    for seed in range(3):
        observation, info = env.reset(seed=seed)
        action = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
        last, reward, terminated, truncated, _ = env.step(action)
        expected = 0.3 * density(observation[None].astype(np.float64), action[None, None].astype(np.float64))
        assert type(reward) is float and reward == expected.item()
        assert (terminated, truncated, info) == (True, False, {})
        np.testing.assert_array_equal(last, observation)


def test_soft_value_of_the_optimum_is_zero():
    """E[reward - temperature log p] is 0 for each sample, and below 0 in the mean for another policy."""
    env, rng = BoltzmannBanditEnv("two_humps", temperature=0.5), np.random.default_rng(0)
    best, uniform = [], []
    for action in env.target.sample(np.zeros((1, 1)), 200, rng)[0]:
        env.reset()
        reward = env.step(action)[1]
        best.append(reward - 0.5 * env.target.log_density(np.zeros((1, 1)), action[None, None]).item())
        env.reset()
        uniform.append(env.step(rng.uniform(-1.0, 1.0, 1))[1] + 0.5 * np.log(2.0))
    np.testing.assert_allclose(best, 0.0, atol=1e-12)
    assert np.mean(uniform) < -0.1


def test_states_are_those_of_the_target_and_depend_on_the_seed_only():
    first, second = BoltzmannBanditEnv(Ring()), BoltzmannBanditEnv(Ring())
    rng = np.random.Generator(np.random.PCG64(5))
    first.reset(seed=5)
    observation, _ = second.reset(seed=5, options={"state": [0.5, -2.0]})
    np.testing.assert_array_equal(observation, np.float32([0.5, -2.0]))
    Ring().sample_states(1, rng)
    for action in ([0.0, 0.0], [1.0, -1.0], [5.0, 5.0]):
        first.step(action)
        second.step([0.0, 0.0])
        drawn = first.reset()[0]
        np.testing.assert_array_equal(drawn, Ring().sample_states(1, rng)[0].astype(np.float32))
        np.testing.assert_array_equal(drawn, second.reset()[0])


def test_actions_outside_the_box_are_clipped():
    rewards = []
    for action in ([1.0, -1.0], [9.0, -1.5]):
        env = BoltzmannBanditEnv("bound_maximum")
        env.reset(seed=0)
        rewards.append(env.step(action)[1])
    assert rewards[0] == rewards[1]


def test_each_step_needs_a_reset():
    env = BoltzmannBanditEnv()
    with pytest.raises(ResetNeeded):
        env.step([0.0, 0.0])
    env.reset(seed=0)
    env.step([0.0, 0.0])
    with pytest.raises(ResetNeeded):
        env.step([0.0, 0.0])


@pytest.mark.parametrize("steps", [0, 1])
def test_saved_state_resumes_exactly(steps):
    """In an episode (steps=0) and after its end (steps=1)."""

    def future(env):
        rewards = [] if env.get_state()["state"] is None else [env.step([0.1, 0.2])[1]]
        for _ in range(5):
            env.reset()
            rewards.append(env.step([0.1, 0.2])[1])
        return rewards

    env = BoltzmannBanditEnv()
    env.reset(seed=11)
    for _ in range(steps):
        env.step([0.0, 0.0])
    saved = env.get_state()
    expected = future(env)
    for copied in (pickle.loads(pickle.dumps(saved)), json.loads(json.dumps(saved))):
        other = BoltzmannBanditEnv()
        other.set_state(copied)
        assert future(other) == expected


def test_the_specification_survives_json():
    env = gym.make("BoltzmannBandit-v0", target="ring", temperature=0.2)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json())).unwrapped
    assert isinstance(again.target, Ring) and again.temperature == 0.2


def test_worker_processes_take_instances():
    kwargs = {"target": SharpGaussian(3)}
    env = make_vec_env("maxent_envs:BoltzmannBandit-v0", 1, vec_env_cls=SubprocVecEnv, env_kwargs=kwargs)
    assert env.action_space.shape == (3,) and env.reset().shape == (1, 17)
    env.close()


@pytest.mark.parametrize("target", ["two_humps", "ring", SharpGaussian(5)], ids=name_of)
def test_rgb_array_shows_the_action_among_samples(target):
    env = gym.make("BoltzmannBandit-v0", target=target, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    env.step(np.full(env.action_space.shape, 0.2, np.float32))
    last = env.render()
    assert first.shape == last.shape == (400, 400, 3) and first.dtype == np.uint8
    red = (last[..., 0] > 150) & (last[..., 1] < 80)
    assert red.sum() > 40 and not ((first[..., 0] > 150) & (first[..., 1] < 80)).any()


class WrongShape(Slope):
    def log_density(self, states, actions):
        return actions


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"target": "square"}, r"target .* must be one of .*; got 'square'"),
        ({"target": Ring}, "target .* must be one of"),
        (
            {"target": WrongShape()},
            r"target.log_density\(states, actions\) must have shape \(2, 3\), got shape \(2, 3, 1\)",
        ),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"render_mode": "ansi"}, "render_mode must be one of rgb_array; got 'ansi'"),
        ({"temperature": "auto"}, "temperature must be positive and finite, got 'auto'"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        gym.make("BoltzmannBandit-v0", **kwargs)


@pytest.mark.parametrize(
    ("action", "message"), [([0.0], r"action must have shape \(2,\)"), ([0.0, np.nan], "action must be finite")]
)
def test_bad_actions_are_named_and_change_nothing(action, message):
    env = BoltzmannBanditEnv()
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.get_state() == before
