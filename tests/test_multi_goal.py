"""MultiGoal-v0: dynamics, reward, goals, pictures."""

import json
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from matplotlib.figure import Figure
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from maxent_envs import MultiGoalEnv, plot_rollouts
from maxent_envs.multi_goal import GOALS, distance_cost, goal_reached

QUARTER_TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


def rollout(env, actions, **kwargs):
    """Positions, rewards and the last information of an episode."""
    positions, rewards, info = [env.reset(**kwargs)[0]], [], {}
    for action in actions:
        position, reward, terminated, truncated, info = env.step(action)
        positions.append(position)
        rewards.append(reward)
        if terminated or truncated:
            break
    return np.array(positions), np.array(rewards), info


@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_checkers_are_silent(render_mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check_env(gym.make("MultiGoal-v0", render_mode=render_mode, disable_env_checker=True).unwrapped)
        sb3_check_env(gym.make("MultiGoal-v0", render_mode=render_mode))


def test_rewards_of_a_straight_walk():
    """From the centre to the right at full speed: 4 steps, 3 of which end outside the goal's circle of radius 1."""
    env = MultiGoalEnv(reward_scale=1.0)
    positions, rewards, info = rollout(env, [[1.0, 0.0]] * 9, options={"state": [0.1, 0.0]})
    np.testing.assert_allclose(positions[:, 0], [0.1, 1.1, 2.1, 3.1, 4.1], rtol=1e-6)
    np.testing.assert_allclose(rewards, [-30 - 3.9**2, -30 - 2.9**2, -30 - 1.9**2, 10 - 30 - 0.9**2])
    assert info == {"goal": 0}
    with pytest.raises(ResetNeeded):
        env.step([0.0, 0.0])


def test_the_circle_of_the_goal_is_open():
    env = MultiGoalEnv()
    assert rollout(env, [[0.0, 0.0]], options={"state": [4.0, 0.0]})[2] == {"goal": -1}
    assert rollout(env, [[0.0, 0.0]], options={"state": [4.0 + 1e-9, 0.0]})[2] == {"goal": 0}


def test_reward_parameters():
    env = MultiGoalEnv(reward_scale=0.5, goal_reward=7.0, action_cost=2.0)
    reward = rollout(env, [[0.0, -1.0]], options={"state": [0.0, -3.5]})[1]
    np.testing.assert_allclose(reward, [0.5 * (7.0 - 2.0 - 0.25)])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_problem_is_alike_in_all_directions(turns):
    turn = np.linalg.matrix_power(QUARTER_TURN, turns)
    start, actions = np.array([0.3, -0.2]), np.random.default_rng(0).uniform([-0.2, 0.0], [0.1, 0.8], (30, 2))
    env = MultiGoalEnv()
    positions, rewards, info = rollout(env, actions, options={"state": start})
    turned_positions, turned_rewards, turned_info = rollout(env, actions @ turn.T, options={"state": turn @ start})
    np.testing.assert_allclose(turned_positions, positions @ turn.T, atol=1e-5)
    np.testing.assert_allclose(turned_rewards, rewards)
    assert info == {"goal": 2}
    np.testing.assert_allclose(GOALS[turned_info["goal"]], turn @ GOALS[2])


def test_each_goal_has_its_index():
    for k, goal in enumerate(GOALS):
        assert rollout(MultiGoalEnv(), [goal / 5.0] * 5, options={"state": [0.0, 0.0]})[2] == {"goal": k}
    np.testing.assert_array_equal(goal_reached(np.vstack([GOALS, [[0.0, 0.0]]])), [0, 1, 2, 3, -1])
    np.testing.assert_allclose(distance_cost([[0.0, 0.0], [5.0, 0.5], [7.0, 7.0]]), [25.0, 0.25, 53.0])


def test_position_and_action_are_clipped():
    env = MultiGoalEnv(reward_scale=1.0)
    position, reward = rollout(env, [[50.0, 50.0]], options={"state": [6.5, 6.0]})[:2]
    np.testing.assert_array_equal(position[-1], [7.0, 7.0])
    np.testing.assert_allclose(reward, [-60.0 - 53.0])


def test_first_positions_are_normal_and_depend_on_the_seed_only():
    env = MultiGoalEnv()
    first = np.array([env.reset(seed=seed)[0] for seed in range(2000)])
    np.testing.assert_allclose(first.std(0), 0.1, rtol=0.06)
    np.testing.assert_allclose(first.mean(0), 0.0, atol=4.0 * 0.1 / 2000**0.5)
    env.reset(seed=3)
    following = env.reset()[0]
    env.reset(seed=3, options={"state": [1.0, 1.0]})
    env.step([0.1, 0.1])
    np.testing.assert_array_equal(env.reset()[0], following)
    assert (MultiGoalEnv(initial_std=0.0).reset(seed=0)[0] == 0.0).all()


def test_episodes_last_thirty_steps():
    env = gym.make("MultiGoal-v0")
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(30)]
    assert ends == [(False, False)] * 29 + [(False, True)]


def test_saved_state_resumes_exactly():
    env, actions = MultiGoalEnv(), np.random.default_rng(0).uniform(-0.3, 0.3, (10, 2))
    env.reset(seed=11)
    for action in actions:
        env.step(action)
    saved = env.get_state()

    def future(env):
        return [env.step(action)[1] for action in actions] + env.reset()[0].tolist()

    expected = future(env)
    for copied in (pickle.loads(pickle.dumps(saved)), json.loads(json.dumps(saved))):
        other = MultiGoalEnv(render_mode="rgb_array")
        other.set_state(copied)
        other.render()
        assert future(other) == expected


def test_rgb_array_shows_the_path():
    env = gym.make("MultiGoal-v0", render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (400, 400, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, env.render())
    env.step(np.array([1.0, 0.5], np.float32))
    second = env.render()
    assert (first != second).any()
    black = [np.argwhere((image < 20).all(-1)) for image in (first, second)]  # the agent: it has moved to the right
    inside = [points[(points > 60).all(1) & (points < 350).all(1)] for points in black]
    assert min(map(len, inside)) > 30 and inside[1][:, 1].mean() > inside[0][:, 1].mean() + 10.0


def test_the_picture_of_a_finished_episode_is_drawn():
    env = MultiGoalEnv(render_mode="rgb_array")
    rollout(env, [[1.0, 0.0]] * 5, options={"state": [0.5, 0.0]})
    assert env.render().shape == (400, 400, 3)


def test_render_needs_a_mode_and_a_reset():
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert MultiGoalEnv().render() is None
    with pytest.raises(ResetNeeded):
        MultiGoalEnv(render_mode="rgb_array").render()


def test_rollouts_are_drawn_in_the_colour_of_their_goal():
    paths = [[[0.0, 0.0], [4.5, 0.0]], [[0.0, 0.0], [0.0, -2.0], [0.0, -4.5]], [[0.0, 0.0], [1.0, 1.0]]]
    given = Figure().subplots()
    axes = plot_rollouts(paths, given)
    assert axes is given
    *lines, goals = axes.get_lines()
    for line, path in zip(lines, paths, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), path)
    assert [line.get_color() for line in lines] == ["tab:blue", "tab:purple", "0.4"]
    np.testing.assert_array_equal(goals.get_xydata(), GOALS)
    assert isinstance(plot_rollouts(iter(paths)).figure, Figure)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiGoalEnv(reward_scale=0.0), "reward_scale must be positive"),
        (lambda: MultiGoalEnv(action_cost=-1.0), "action_cost must be .*, got -1.0"),
        (lambda: MultiGoalEnv(goal_reward=np.inf), "goal_reward must be .*, got inf"),
        (lambda: MultiGoalEnv(initial_std=8.0), "initial_std must lie in"),
        (lambda: MultiGoalEnv(render_mode="human"), "render_mode must be one of rgb_array; got 'human'"),
        (lambda: MultiGoalEnv().reset(options={"state": [8.0, 0.0]}), r"options\['state'\] must lie in Box\(-7.0, 7.0"),
        (lambda: MultiGoalEnv().reset(options={"x": [0.0, 0.0]}), "options must be None or a dictionary"),
        (lambda: rollout(MultiGoalEnv(), [[0.0]]), r"action must have shape \(2,\)"),
        (lambda: rollout(MultiGoalEnv(), [[0.0, np.nan]]), "action must be finite"),
        (lambda: plot_rollouts([[0.0, 1.0]]), r"paths\[0\] must have shape \(any, 2\)"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
