"""MaxEntLQR-v0 as Gymnasium and Stable-Baselines3 see it."""

import json
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

import maxent_envs
from maxent_envs import LQREnv

PROBLEM = maxent_envs.LQRProblem(
    **(maxent_envs.random_problem(3, 2, seed=1).to_dict() | {"N": [[0.1, 0.0], [0.0, -0.1], [0.05, 0.02]]})
)
MATRICES = {"A": [[0.9, 0.3], [0.0, 0.8]], "B": [[1.0], [0.5]], "Q": [[2.0, 0.5], [0.5, 1.0]], "R": [[0.3]]}


def checker_warnings(**kwargs):
    """What both libraries' env checkers advise; not what the collector of garbage warns of in the meantime."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gymnasium_check_env(gym.make("MaxEntLQR-v0", **kwargs).unwrapped)
        sb3_check_env(gym.make("MaxEntLQR-v0", **kwargs))
    return [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]


@pytest.mark.parametrize("name", ["default", "scalar", "unstable", "six-state", "boeing-747"])
def test_checkers_advise_a_normalized_box_and_nothing_else(name):
    messages = checker_warnings(preset=name)
    assert len(messages) == 2
    assert all("symmetric and normalized" in message for message in messages)


def test_checkers_are_silent_when_the_bound_is_one():
    assert checker_warnings(action_bound=1.0) == []
    assert checker_warnings(action_bound=[1, 1], render_mode="rgb_array") == []


def test_step_follows_the_dynamics_and_pays_for_the_state_it_leaves():
    env, rng = LQREnv(**PROBLEM.to_dict()), np.random.default_rng(0)
    observation, info = env.reset(seed=7)
    normal = np.random.Generator(np.random.PCG64(7)).standard_normal((21, 3))
    x = np.linalg.cholesky(PROBLEM.initial_cov) @ normal[0]
    noise_root = 0.1 * np.eye(3)
    assert info == {} and observation.dtype == np.float32
    for z in normal[1:]:
        np.testing.assert_array_equal(observation, x.astype(np.float32))
        u = rng.standard_normal(2).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(u)
        exact = u.astype(np.float64)
        assert type(reward) is float and reward == pytest.approx(
            -(x @ PROBLEM.Q @ x + exact @ PROBLEM.R @ exact + 2.0 * x @ PROBLEM.N @ exact), rel=1e-12
        )
        assert (terminated, truncated, info) == (False, False, {})
        x = PROBLEM.A @ x + PROBLEM.B @ exact + noise_root @ z
        np.testing.assert_allclose(env.get_state()["state"], x, rtol=1e-12, atol=1e-13)


def test_actions_outside_the_box_are_applied_as_given():
    env = LQREnv(action_bound=0.1)
    env.reset(seed=0, options={"state": [0.0, 0.0]})
    reward = env.step([5.0, 0.0])[1]
    assert reward == pytest.approx(-0.2 * 25.0)


def test_noise_depends_on_the_seed_only():
    """Two policies and two initial states, one seed: the difference of the paths is free of noise."""
    problem = maxent_envs.preset()
    first, second = LQREnv(), LQREnv()
    x = first.reset(seed=3)[0].astype(np.float64)
    start = np.array([5.0, -5.0])
    second.reset(seed=3, options={"state": start})
    difference = start - np.array(first.get_state()["state"])
    for _ in range(10):
        first.step([1.0, 2.0])
        second.step([-1.0, 0.0])
        difference = problem.A @ difference + problem.B @ [-2.0, -2.0]
        paths = np.array(second.get_state()["state"]) - np.array(first.get_state()["state"])
        np.testing.assert_allclose(paths, difference, atol=1e-12)
    assert x.shape == (2,)


def test_reset_repeats_by_seed_and_goes_on_without():
    env = LQREnv()
    first, second, third = env.reset(seed=5)[0], env.reset()[0], env.reset(seed=5)[0]
    np.testing.assert_array_equal(first, third)
    assert (first != second).all()


def test_truncated_after_a_hundred_steps_and_never_terminated():
    env = gym.make("MaxEntLQR-v0")
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(100)]
    assert ends == [(False, False)] * 99 + [(False, True)]


def test_problem_of_the_environment():
    assert gym.make("MaxEntLQR-v0").unwrapped.problem == maxent_envs.preset("default")
    assert gym.make("MaxEntLQR-v0", preset="scalar").unwrapped.problem == maxent_envs.preset("scalar")
    arrays = {key: np.array(value) for key, value in MATRICES.items()}
    given = gym.make("MaxEntLQR-v0", **arrays, N=[[0.1], [0]], noise_cov=np.eye(2), gamma=0.9).unwrapped.problem
    assert given == maxent_envs.LQRProblem(**MATRICES, N=[[0.1], [0]], noise_cov=np.eye(2), gamma=0.9)
    assert gym.make("MaxEntLQR-v0", **PROBLEM.to_dict()).unwrapped.problem == PROBLEM


def test_the_discount_is_said_where_agents_look_for_it():
    assert gym.make("MaxEntLQR-v0").unwrapped.gamma == 0.95
    env = make_vec_env("MaxEntLQR-v0", 2, env_kwargs=MATRICES | {"gamma": 0.9})
    assert env.get_attr("gamma") == [0.9, 0.9]


def test_solution_of_the_environment_has_its_alpha():
    np.testing.assert_array_equal(LQREnv(alpha=0.3).solution.Sigma, maxent_envs.preset().solve(0.3).Sigma)


def test_spaces():
    env = LQREnv(**PROBLEM.to_dict(), alpha=0.3)
    limit = np.finfo(np.float32).max
    assert env.observation_space == gym.spaces.Box(-limit, limit, (3,), np.float32)
    bound = maxent_envs.derived_action_bound(PROBLEM, 0.3).astype(np.float32)
    assert env.action_space == gym.spaces.Box(-bound, bound, dtype=np.float32)
    assert LQREnv(action_bound=2.5).action_space == gym.spaces.Box(-2.5, 2.5, (2,), np.float32)
    np.testing.assert_array_equal(LQREnv(action_bound=[1.0, 3.0]).action_space.high, np.float32([1.0, 3.0]))


def test_specification_with_lists_survives_json():
    spec = gym.make("MaxEntLQR-v0", **PROBLEM.to_dict(), action_bound=[1.0, 2.0], alpha=0.5).spec
    rebuilt = EnvSpec.from_json(spec.to_json())
    assert rebuilt == spec
    env = gym.make(rebuilt)
    assert env.unwrapped.problem == PROBLEM
    np.testing.assert_array_equal(env.action_space.high, np.float32([1.0, 2.0]))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"preset": "nope"}, "unstable; got 'nope'"),
        ({"preset": 3}, "preset must be one of"),
        ({"preset": "scalar", "A": [[1.0]]}, "preset='scalar' must not be mixed with A"),
        ({"preset": "default", "gamma": 0.9}, "preset='default' must not be mixed with gamma"),
        ({"A": [[1.0]], "B": [[1.0]]}, "lacks Q, R; A, B, Q, R are required together"),
        ({"gamma": 0.9}, "lacks A, B, Q, R"),
        (MATRICES | {"noise_cov": [[1.0]]}, "noise_cov must have shape (2, 2)"),
        (MATRICES | {"A": [[1.1, 0.0], [0.0, 0.5]], "B": [[0.0], [1.0]]}, "A, B must be stabilizable"),
        ({"alpha": 0.0}, "alpha must lie in "),
        ({"mass": 1.0}, "does not know mass; allowed are A, B, Q, R, N"),
        ({"alpha": "auto"}, "alpha must lie in "),
        ({"action_bound": -1.0}, "action_bound must be positive"),
        ({"action_bound": [1.0]}, "action_bound must be one number or 2"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError) as caught:
        gym.make("MaxEntLQR-v0", **kwargs)
    assert message in str(caught.value)


def test_unknown_render_mode_is_named():
    with pytest.raises(ValueError, match="render_mode must be one of rgb_array; got 'ansi'"):
        LQREnv(render_mode="ansi")


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([0.0], r"action must have shape \(2,\), got shape \(1,\)"),
        ([[0.0, 0.0]], r"action must have shape \(2,\), got shape \(1, 2\)"),
        ([0.0, np.nan], "action must be finite"),
        ([0.0, np.inf], "action must be finite"),
        (None, "action must contain real numbers only, got None"),
    ],
)
def test_bad_actions_are_named_and_change_nothing(action, message):
    env = LQREnv()
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.get_state() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x0": [0.0, 0.0]}, "options must be None or a dictionary with the key 'state'"),
        ({"state": [0.0]}, r"options\['state'\] must have shape"),
        ({"state": [[0.0, 0.0]]}, r"options\['state'\] must have shape \(2,\), got shape \(1, 2\)"),
        ({"state": [1e39, 0.0]}, r"options\['state'\] must lie in Box"),
        ({"state": [0.0, np.nan]}, r"options\['state'\] must be finite"),
        ([1.0], "options must be None or a dictionary"),
    ],
)
def test_bad_reset_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LQREnv().reset(seed=0, options=options)


def test_needs_a_reset_first():
    with pytest.raises(ResetNeeded, match="reset"):
        LQREnv().step([0.0, 0.0])


def test_a_runaway_state_is_reported_where_it_happens():
    env = LQREnv(A=[[1e6]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], action_bound=1.0)
    env.reset(seed=0)
    with pytest.raises(OverflowError, match="the state must stay within float32's range"):
        for _ in range(10):
            env.step([0.0])


def test_saved_state_resumes_exactly():
    env, rng = LQREnv(), np.random.default_rng(0)
    env.reset(seed=11)
    for _ in range(17):
        env.step(rng.standard_normal(2))
    saved = env.get_state()
    actions = rng.standard_normal((20, 2))
    future = [env.step(u)[:2] for u in actions] + [(env.reset()[0], 0.0)]
    for copied in (pickle.loads(pickle.dumps(saved)), json.loads(json.dumps(saved))):
        other = LQREnv(render_mode="rgb_array")
        other.set_state(copied)
        replay = [other.step(u)[:2] for u in actions] + [(other.reset()[0], 0.0)]
        for (x, r), (y, s) in zip(future, replay, strict=True):
            np.testing.assert_array_equal(x, y)
            assert r == s


def test_state_before_the_first_reset_can_be_saved():
    env, other = LQREnv(), LQREnv()
    other.set_state(env.get_state())
    with pytest.raises(ResetNeeded):
        other.step([0.0, 0.0])
    np.testing.assert_array_equal(env.reset()[0], other.reset()[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": [0.0]}, r"state\['state'\] must have shape \(2,\)"),
        ({"rng": {"bit_generator": "MT19937"}}, r"state\['rng'\] must be the state of a PCG64"),
        ({"rng": None}, r"state\['rng'\] must be the state of a PCG64"),
        ({"steps": 3}, "state must be a dictionary with the keys state and rng"),
    ],
)
def test_foreign_states_are_refused(change, message):
    env = LQREnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.set_state(env.get_state() | change)


def rollout(vec_env):
    """Twelve steps of two environments with seeded random actions."""
    vec_env.seed(0)
    observations, rng = [vec_env.reset()], np.random.default_rng(0)
    for _ in range(12):
        observations.append(vec_env.step(rng.uniform(-1.0, 1.0, (2, 2)).astype(np.float32))[0])
    vec_env.close()
    return np.array(observations)


def test_worker_processes_know_the_id_and_agree_with_one_process():
    settings = {"n_envs": 2, "env_kwargs": MATRICES | {"B": [[1.0, 0.0], [0.5, 1.0]], "R": [[1.0, 0.0], [0.0, 1.0]]}}
    here = rollout(make_vec_env("maxent_envs:MaxEntLQR-v0", vec_env_cls=DummyVecEnv, **settings))
    there = rollout(make_vec_env("maxent_envs:MaxEntLQR-v0", vec_env_cls=SubprocVecEnv, **settings))
    np.testing.assert_array_equal(here, there)
