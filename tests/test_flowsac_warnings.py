"""Runs that cannot give what was asked for say so at once."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env

from sb3_flowsac import FlowSAC


class OwnGamma(gym.Wrapper):
    """Pendulum-v1 with a discount factor that it calls its own."""

    gamma = 0.95


@pytest.mark.parametrize(
    ("settings", "named"), [({"learning_starts": 60}, "learning_starts=60"), ({"gradient_steps": 0}, "0")]
)
def test_a_run_that_takes_no_gradient_step_warns(make_model, settings, named):
    with pytest.warns(UserWarning, match=f"no gradient step.*{named}") as warned:
        model = make_model("Pendulum-v1", **settings).learn(60)
    assert model._n_updates == 0 and [warning.filename for warning in warned] == [__file__]


def test_a_run_that_trains_does_not(make_model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = make_model("Pendulum-v1", learning_starts=40).learn(60)
        model.learn(20, reset_num_timesteps=False)  # goes on after its warm-up
    assert model._n_updates == 40


def test_an_episode_may_be_longer_than_the_warm_up(make_model):
    """How many steps it has is not known before."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = make_model("Pendulum-v1", learning_starts=100, train_freq=(1, "episode")).learn(60)
    assert model.num_timesteps == 200 and model._n_updates == 1


@pytest.mark.parametrize("learning_rate", [None, 1e-3])
def test_gradient_steps_at_a_rate_of_zero_warn(make_model, learning_rate):
    """The default rate is 0 after the last rollout, which may be a large part of the run."""
    settings = {} if learning_rate is None else {"learning_rate": learning_rate}
    model = make_model("Pendulum-v1", train_freq=100, gradient_steps=20, **settings)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model.learn(200)
    said = [str(warning.message) for warning in warned if "learning_rate" in str(warning.message)]
    assert len(said) == (learning_rate is None)
    assert all("the last 20 of 40 gradient steps" in text for text in said)


@pytest.mark.parametrize(("train_freq", "n_updates"), [(1, 1), (3, 1)])
def test_a_last_rollout_that_goes_beyond_the_warm_up_trains(make_model, train_freq, n_updates):
    """Eight environments make whole rollouts: 64 or 72 steps where 60 are asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        env = make_vec_env("Pendulum-v1", n_envs=8)
        model = make_model(env, learning_starts=60, train_freq=train_freq).learn(60)
    assert model._n_updates == n_updates


@pytest.mark.parametrize(("steps", "warm_up"), [(150, 100), (3_000, 300), (1_000_000, 1_000)])
def test_the_warm_up_is_a_tenth_of_the_run_within_bounds(make_model, steps, warm_up):
    model = make_model("Pendulum-v1", learning_starts="auto").learn(steps, callback=lambda *_: False)
    assert model.learning_starts == warm_up


@pytest.mark.parametrize("value", ["soon", -1, 1.5, None])
def test_no_other_warm_up_is_taken(make_model, value):
    with pytest.raises(ValueError, match='learning_starts must be "auto" or a number of steps'):
        make_model("Pendulum-v1", learning_starts=value)


def test_another_gamma_than_the_environments_own_warns(make_model, tmp_path):
    env = OwnGamma(gym.make("Pendulum-v1"))
    with pytest.warns(UserWarning, match=r"gamma=0.99.*0.95") as warned:
        model = FlowSAC("MlpPolicy", env, buffer_size=10)
    assert [warning.filename for warning in warned] == [__file__]
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match=r"gamma=0.99.*0.95"):
        FlowSAC.load(tmp_path / "model", env=env)


def test_its_own_gamma_does_not(make_model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make_model(OwnGamma(gym.make("Pendulum-v1")), gamma=0.95)
        make_model("Pendulum-v1", gamma=0.5)


@pytest.mark.parametrize("value", [None, 1.4, np.array([0.9, 0.8]), print], ids=["none", "ratio", "array", "method"])
def test_what_is_no_discount_factor_may_have_its_name(make_model, value):
    env = gym.Wrapper(gym.make("Pendulum-v1"))
    env.gamma = value
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        make_model(env)


def test_the_lqr_says_its_gamma(make_model):
    with pytest.warns(UserWarning, match=r"gamma=0.9,.*0.95"):
        make_model("MaxEntLQR-v0", gamma=0.9)
