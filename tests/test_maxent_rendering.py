"""Pictures of an episode."""

import gymnasium as gym
import matplotlib
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import maxent_envs
from maxent_envs import LQREnv


@pytest.fixture
def agg_backend():
    """Windows need a display; the same drawing code runs into memory."""
    import matplotlib.pyplot as plt

    before = matplotlib.get_backend()
    plt.switch_backend("agg")
    yield plt
    plt.close("all")
    plt.switch_backend(before)


@pytest.mark.parametrize("name", maxent_envs.preset_names())
def test_rgb_array_shows_the_episode(name):
    env = gym.make("MaxEntLQR-v0", preset=name, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (320, 640, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, env.render())
    env.step(env.action_space.high)
    second = env.render()
    left, right = slice(0, 320), slice(320, 640)
    assert (first[:, left] != second[:, left]).any() and (first[:, right] != second[:, right]).any()


def test_optimal_action_stands_beside_the_taken_one():
    """Same state and action, another alpha: the optimum's picture moves, the path's does not."""
    images = []
    for alpha in (0.1, 2.0):
        env = LQREnv(alpha=alpha, action_bound=3.0, render_mode="rgb_array")
        env.reset(seed=0)
        env.step([1.0, 1.0])
        images.append(env.render())
    assert (images[0][:, :300] == images[1][:, :300]).all() and (images[0][:, 320:] != images[1][:, 320:]).any()


def test_drawing_does_not_touch_the_noise():
    drawn, plain = LQREnv(render_mode="rgb_array"), LQREnv()
    for _ in range(2):
        np.testing.assert_array_equal(drawn.reset(seed=0)[0], plain.reset(seed=0)[0])
        drawn.render()
        np.testing.assert_array_equal(drawn.step([1.0, 0.0])[0], plain.step([1.0, 0.0])[0])


def test_human_mode_draws_by_itself_and_closes_its_window(agg_backend):
    env = LQREnv(render_mode="human")
    env.reset(seed=0)
    assert agg_backend.get_figlabels() == ["MaxEntLQR-v0"]
    env.step([0.0, 0.0])
    (figure,) = map(agg_backend.figure, agg_backend.get_fignums())
    assert [axes.get_title() for axes in figure.axes] == ["step 1", "last action"]
    assert env.render() is None
    env.close()
    env.close()
    assert agg_backend.get_fignums() == []


def test_render_needs_a_mode_and_a_reset():
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert LQREnv().render() is None
    with pytest.raises(ResetNeeded):
        LQREnv(render_mode="rgb_array").render()
