"""Many copies of MaxEntLQR-v0: by Gymnasium's vector environment, and by the problem's own batched functions."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

import maxent_envs


def test_a_vector_environment_steps_single_ones():
    env = gym.make_vec("MaxEntLQR-v0", num_envs=3, preset="unstable")
    singles = [gym.make("MaxEntLQR-v0", preset="unstable") for _ in range(3)]
    first, _ = env.reset(seed=5)
    np.testing.assert_array_equal(first, [single.reset(seed=5 + i)[0] for i, single in enumerate(singles)])
    env.action_space.seed(0)
    for _ in range(10):
        actions = env.action_space.sample()
        observations, rewards, terminated, truncated, _ = env.step(actions)
        expected = [single.step(action) for single, action in zip(singles, actions, strict=True)]
        np.testing.assert_array_equal(observations, [step[0] for step in expected])
        np.testing.assert_array_equal(rewards, [step[1] for step in expected])
        assert not terminated.any() and not truncated.any()


def test_episodes_are_truncated_and_reset_as_asked():
    for mode, rewarded in ((AutoresetMode.NEXT_STEP, False), (AutoresetMode.SAME_STEP, True)):
        env = gym.make_vec("MaxEntLQR-v0", num_envs=2, max_episode_steps=2, vector_kwargs={"autoreset_mode": mode})
        env.reset(seed=0)
        steps = [env.step(np.ones((2, 2), np.float32)) for _ in range(3)]
        assert [bool(step[3].all()) for step in steps] == [False, True, False]
        assert (steps[2][1] != 0.0).all() == rewarded


def test_batched_rollouts_are_those_of_the_environment():
    """The documented loop over a problem's functions, fed with the random numbers of single environments."""
    problem, runs = maxent_envs.preset("six-state"), 3
    K = problem.solve(0.5).K
    rngs = [np.random.Generator(np.random.PCG64(seed)) for seed in range(runs)]
    x = problem.initial_state(np.array([rng.standard_normal(6) for rng in rngs]))
    rewards = []
    for _ in range(20):
        u = -x @ K.T
        rewards.append(problem.reward(x, u))
        x = problem.next_state(x, u, np.array([rng.standard_normal(6) for rng in rngs]))
    for seed in range(runs):
        env = maxent_envs.LQREnv("six-state")
        env.reset(seed=seed)
        expected = [env.step(-K @ env.get_state()["state"])[1] for _ in range(20)]
        np.testing.assert_allclose(np.array(rewards)[:, seed], expected, rtol=1e-9)


def test_rollouts_measure_the_optimum():
    """2,000 rollouts of the optimum: the discounted return within four standard errors of the closed form."""
    problem, rng = maxent_envs.preset(), np.random.default_rng(0)
    optimum = problem.solve(0.5)
    x, total = problem.initial_state(rng.standard_normal((2000, 2))), np.zeros(2000)
    for step in range(100):
        u = optimum.sample(x, rng)
        total += problem.gamma**step * problem.reward(x, u)
        x = problem.next_state(x, u, rng.standard_normal(x.shape))
    assert abs(total.mean() - optimum.expected_return(100)) <= 4.0 * total.std() / np.sqrt(2000)
