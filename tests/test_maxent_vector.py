"""The batched environment against Gymnasium's loop over single ones."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

import maxent_envs
from maxent_envs import LQRVectorEnv


def pair(num_envs, **kwargs):
    """The native batched environment and SyncVectorEnv, made alike."""
    native, loop = (
        gym.make_vec("MaxEntLQR-v0", num_envs=num_envs, vectorization_mode=mode, **kwargs)
        for mode in ("vector_entry_point", "sync")
    )
    assert isinstance(native, LQRVectorEnv) and isinstance(loop, gym.vector.SyncVectorEnv)
    return native, loop


def assert_equal_results(native, loop):
    for ours, theirs in zip(native[:-1], loop[:-1], strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-10)
    # The RL Zoo, where another test has imported it, has TimeLimit add entries of its own
    assert native[-1] == {key: value for key, value in loop[-1].items() if "TimeLimit" not in key} == {}


@pytest.mark.parametrize("kwargs", [{}, {"preset": "unstable"}, {"preset": "six-state"}, {"max_episode_steps": 7}])
def test_equals_the_loop_over_a_thousand_steps_with_resets(kwargs):
    native, loop = pair(4, **kwargs)
    assert native.single_action_space == loop.single_action_space
    assert native.action_space == loop.action_space and native.observation_space == loop.observation_space
    assert_equal_results(native.reset(seed=5), loop.reset(seed=5))
    native.action_space.seed(0)
    truncated = 0
    for step in range(1000):
        actions = native.action_space.sample()
        ours = native.step(actions)
        assert_equal_results(ours, loop.step(actions))
        truncated += ours[3].sum()
        if step == 450:  # in the middle of an episode, without a seed: the streams go on
            assert_equal_results(native.reset(), loop.reset())
    assert truncated >= 9 * 4


@pytest.mark.parametrize("seed", [[3, 1, 4], [3, None, 4], np.int64(2)])
def test_seeds_and_initial_states_as_in_the_loop(seed):
    native, loop = pair(3)
    native.reset(seed=0), loop.reset(seed=0)
    loop_seed = int(seed) if isinstance(seed, np.int64) else seed
    for options in (None, {"state": [1.0, -1.0]}):
        assert_equal_results(native.reset(seed=seed, options=options), loop.reset(seed=loop_seed, options=options))
        for _ in range(40):
            actions = native.action_space.sample()
            assert_equal_results(native.step(actions), loop.step(actions))


def test_one_initial_state_for_each_environment():
    env = LQRVectorEnv(num_envs=3)
    start = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(env.reset(seed=0, options={"state": start})[0], start)


def test_common_random_numbers():
    """Two policies under the same seeds: the difference of their paths is free of noise, also across resets."""
    problem = maxent_envs.preset()
    envs = [LQRVectorEnv(num_envs=5, max_episode_steps=10) for _ in range(2)]
    for env in envs:
        env.reset(seed=0)
    for _ in range(3):
        difference = np.zeros((5, 2))
        for _ in range(10):
            first, second = (env.step(np.full((5, 2), level))[0] for env, level in zip(envs, (0.5, -0.5), strict=True))
            difference = difference @ problem.A.T + problem.B.sum(axis=1)
            np.testing.assert_allclose(first.astype(float) - second, difference, atol=1e-5)
        np.testing.assert_array_equal(*(env.step(np.zeros((5, 2)))[0] for env in envs))


def test_next_step_autoreset_is_declared_and_done():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make_vec("MaxEntLQR-v0", num_envs=2, max_episode_steps=2)
    assert isinstance(env, LQRVectorEnv) and env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    env.reset(seed=0)
    assert env.spec.id == "MaxEntLQR-v0"
    steps = [env.step(np.ones((2, 2))) for _ in range(6)]
    assert [bool(step[3].all()) for step in steps] == [False, True, False, False, True, False]
    assert [bool((step[1] == 0.0).all()) for step in steps] == [False, False, True, False, False, True]
    assert not any(step[2].any() for step in steps)


def test_without_a_limit_episodes_do_not_end():
    env = LQRVectorEnv(num_envs=1)
    env.reset(seed=0)
    assert not any(env.step(np.zeros((1, 2)))[3].any() for _ in range(300))


def test_results_are_the_callers_own():
    """Writing into what step and reset returned does not reach the environment."""
    env, twin = LQRVectorEnv(num_envs=2, max_episode_steps=2), LQRVectorEnv(num_envs=2, max_episode_steps=2)
    for single in (env, twin):
        single.reset(seed=0)[0][:] = 7.0 if single is env else 0.0
    for _ in range(5):
        ours, theirs = env.step(np.ones((2, 2))), twin.step(np.ones((2, 2)))
        assert_equal_results(ours, theirs)
        ours[0][:], ours[1][:], ours[3][:] = 7.0, 7.0, True


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer from 1 to 1048576, got 0"),
        ({"max_episode_steps": 0}, "max_episode_steps must be an integer of at least 1, got 0"),
        ({"render_mode": "rgb_array"}, "render_mode must be None"),
        ({"preset": "scalar", "gamma": 0.9}, "must not be mixed"),
        ({"alpha": -1.0}, "alpha must be positive"),
        ({"action_bound": np.nan}, "action_bound must be finite"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LQRVectorEnv(**kwargs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda env: env.reset(seed=[1, 2]), "seed must be one integer or 3, one per environment; got 2"),
        (lambda env: env.reset(seed=-1), "seed must be an integer of at least 0, got -1"),
        (lambda env: env.reset(seed=[0, 1, 1.5]), "seed must be an integer of at least 0, got 1.5"),
        (lambda env: env.reset(options={"state": np.zeros((2, 2))}), r"options\['state'\] must have shape \(3, 2\)"),
        (lambda env: env.step(np.zeros((2, 2))), r"actions must have shape \(3, 2\), got shape \(2, 2\)"),
        (lambda env: env.step(np.full((3, 2), np.nan)), "actions must be finite"),
    ],
)
def test_bad_calls_are_named(call, message):
    env = LQRVectorEnv(num_envs=3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        call(env)


def test_needs_a_reset_first():
    with pytest.raises(ResetNeeded, match="reset"):
        LQRVectorEnv(num_envs=2).step(np.zeros((2, 2)))


def test_paired_rollouts_measure_the_optimum():
    """2,000 rollouts of the optimum: the discounted return within four standard errors of the closed form."""
    env = gym.make_vec("MaxEntLQR-v0", num_envs=2000)
    optimum, rng = env.unwrapped.problem.solve(0.5), np.random.default_rng(0)
    x, total = env.reset(seed=0)[0], np.zeros(2000)
    for k in range(100):
        x, reward, *_ = env.step(optimum.sample(x, rng))
        total += 0.95**k * reward
    assert abs(total.mean() - optimum.expected_return(100)) <= 4.0 * total.std() / np.sqrt(2000)
