"""The tasks whose max-entropy optimum is known, seen through an environment's wrappers."""

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from maxent_envs import LQRProblem, Target

Task = Target | LQRProblem
# They change what a state, an action or a reward means; the known optimum is no longer the one to learn
CHANGING_WRAPPERS = (gym.ObservationWrapper, gym.ActionWrapper, gym.RewardWrapper, gym.wrappers.NormalizeReward)


def task_of(env: VecEnv) -> Task | None:
    """The task of environments if its optimum is known: what :func:`require_task` returns, None where it raises."""
    try:
        return require_task(env)
    except ValueError:
        return None


def require_task(env: VecEnv) -> Task:
    """
    The task of environments, whose optimum must be known.

    :param env: the environments
    :return: the target of ``BoltzmannBandit-v0``, or the problem of ``MaxEntLQR-v0``
    :raises ValueError: if the environments are others, a wrapper changes the task, or they do not share it
    """
    tasks = [each for name in ("target", "problem") if env.has_attr(name) for each in env.get_attr(name)]
    if not tasks or not all(isinstance(each, Task) for each in tasks):
        raise ValueError(f"env must be BoltzmannBandit-v0 or MaxEntLQR-v0, got {env}")
    task: Task = tasks[0]
    if not all(_alike(task, other) for other in tasks):
        raise ValueError("env must pose the same target or problem in each of its environments, got different ones")
    changes = [wrapper.__name__ for wrapper in CHANGING_WRAPPERS if any(env.env_is_wrapped(wrapper))]
    normalizer = unwrap_vec_normalize(env)
    if normalizer is not None and normalizer.norm_reward:
        changes.append("VecNormalize(norm_reward=True)")
    n_states, n_inputs = (
        (task.n_states, task.n_inputs) if isinstance(task, LQRProblem) else (task.state_dim, task.action_dim)
    )
    shapes = env.observation_space.shape, env.action_space.shape
    if not changes and shapes != ((n_states,), (n_inputs,)):
        changes.append(f"observations and actions of shapes {shapes[0]} and {shapes[1]}")
    if changes:
        raise ValueError(f"env must have its own states, actions and rewards, got {', '.join(changes)}")
    return task


def _alike(one: Task, other: Task) -> bool:
    """Whether two tasks are the same; of targets the densities are compared, since a user's own need not have ==."""
    if isinstance(one, LQRProblem) or isinstance(other, LQRProblem):
        return one == other
    if (one.state_dim, one.action_dim) != (other.state_dim, other.action_dim):
        return False
    rng = np.random.default_rng(0)
    states, actions = one.sample_states(16, rng), rng.uniform(-1.0, 1.0, (16, 4, one.action_dim))
    return np.array_equal(one.log_density(states, actions), other.log_density(states, actions))
