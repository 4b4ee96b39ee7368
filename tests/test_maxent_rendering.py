"""Pictures of an episode."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from maxent_envs import LQREnv


@pytest.mark.parametrize("name", ["default", "scalar", "six-state", "quadrotor"])
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


def test_human_mode_is_gymnasiums_window(monkeypatch):
    pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = gym.make("MaxEntLQR-v0", render_mode="human")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert env.render_mode == "human" and env.render() is None
    env.close()


def axes_of(env):
    """Axes of the picture, and its legend."""
    figure = Figure(figsize=env.size_inches, layout="constrained")
    FigureCanvasAgg(figure)
    env._draw(figure)
    figure.draw_without_rendering()
    return figure, figure.axes


def test_legends_lie_beside_what_they_explain_and_the_state_is_marked():
    env = LQREnv(render_mode="rgb_array")
    env.reset(seed=0)
    env.step([1.0, 1.0])
    figure, (path, action) = axes_of(env)
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["path", "now"]
    legend = figure.legends[0].get_window_extent()
    assert not any(legend.overlaps(axes.get_window_extent()) for axes in (path, action))
    now = next(line for line in path.get_lines() if line.get_label() == "now")
    np.testing.assert_allclose(now.get_xydata()[0], env.get_state()["state"])
    assert [axes.get_title() for axes in (path, action)] == ["step 1", "last action"]


def test_render_needs_a_mode_and_a_reset():
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert LQREnv().render() is None
    with pytest.raises(ResetNeeded):
        LQREnv(render_mode="rgb_array").render()
