"""The tasks whose optimum is known, seen through an environment's wrappers."""

from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from maxent_envs import LQRProblem, Target

# Wrappers that change what a state, an action or a reward means; the known optimum is no longer the one to learn
CHANGING_WRAPPERS = (gym.ObservationWrapper, gym.ActionWrapper, gym.RewardWrapper, gym.wrappers.NormalizeReward)


def task_of(env: VecEnv) -> Target | LQRProblem | None:
    """
    The task of an environment whose optimum is known.

    :param env: the environments
    :return: the target of ``BoltzmannBandit-v0``, the problem of ``MaxEntLQR-v0``; None for other environments, where a
        wrapper changes the task, or where the environments do not share it
    """
    for name, kind in (("target", Target), ("problem", LQRProblem)):
        found = attributes(env, name)
        if (
            found
            and isinstance(found[0], kind)
            and not changes(env, found[0])
            and all(same(task, found[0]) for task in found)
        ):
            return found[0]
    return None


def attributes(env: VecEnv, name: str) -> list[Any]:
    """An attribute of each environment, an empty list if they have none of that name."""
    try:
        return env.get_attr(name)
    except AttributeError:
        return []


def same(task: Target | LQRProblem, other: Target | LQRProblem) -> bool:
    """Whether two environments pose the same task: targets, which have no equality, by their class."""
    return task == other if isinstance(task, LQRProblem) else type(task) is type(other)


def changes(env: VecEnv, task: Target | LQRProblem) -> list[str]:
    """
    What changes a task on the way from its environment to the agent.

    :param env: the environments
    :param task: their task
    :return: names of wrappers, or the shapes that do not fit
    """
    names = [wrapper.__name__ for wrapper in CHANGING_WRAPPERS if any(env.env_is_wrapped(wrapper))]
    normalizer = unwrap_vec_normalize(env)
    if normalizer is not None and normalizer.norm_reward:
        names.append("VecNormalize(norm_reward=True)")
    own = (task.n_states, task.n_inputs) if isinstance(task, LQRProblem) else (task.state_dim, task.action_dim)
    shapes = env.observation_space.shape, env.action_space.shape
    if not names and shapes != ((own[0],), (own[1],)):
        names.append(f"observations and actions of shapes {shapes[0]} and {shapes[1]}")
    return names
