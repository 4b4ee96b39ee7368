"""Gymnasium environments whose max-entropy optimum is known in closed form.

Importing the package registers ``MaxEntLQR-v0``, ``BoltzmannBandit-v0`` and ``MultiGoal-v0``. Where nothing has
imported it (worker processes), name the package in the id: ``"maxent_envs:MaxEntLQR-v0"``.
"""

import gymnasium as gym

from maxent_envs.boltzmann_bandit import BoltzmannBanditEnv
from maxent_envs.lqr.bounds import clip_probability, derived_action_bound, optimal_spread
from maxent_envs.lqr.env import LQREnv
from maxent_envs.lqr.presets import PRESETS, preset, random_problem
from maxent_envs.lqr.problem import LinearGaussian, LQRProblem, LQRSolution
from maxent_envs.lqr.sources import load_problem
from maxent_envs.multi_goal import MultiGoalEnv, plot_rollouts
from maxent_envs.targets import Target, get_target

__all__ = [
    "PRESETS",
    "BoltzmannBanditEnv",
    "LQREnv",
    "LQRProblem",
    "LQRSolution",
    "LinearGaussian",
    "MultiGoalEnv",
    "Target",
    "clip_probability",
    "derived_action_bound",
    "get_target",
    "load_problem",
    "optimal_spread",
    "plot_rollouts",
    "preset",
    "random_problem",
]

gym.register(id="MaxEntLQR-v0", entry_point="maxent_envs.lqr.env:LQREnv", max_episode_steps=100)
gym.register(id="BoltzmannBandit-v0", entry_point="maxent_envs.boltzmann_bandit:BoltzmannBanditEnv")
gym.register(id="MultiGoal-v0", entry_point="maxent_envs.multi_goal:MultiGoalEnv", max_episode_steps=30)
