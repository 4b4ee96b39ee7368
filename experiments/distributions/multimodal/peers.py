"""The algorithms compared, and how to ask each for actions together with their density."""

from typing import Any, TypeAlias

import gymnasium as gym
import torch

from experiments.runner.algorithms import ALGORITHMS
from maxent_envs.validation import FloatArray
from sb3_flowsac.evaluation.policies import LearntPolicy

NAMES = {"flowsac": "FlowSAC", "sac": "SAC", "tqc": "TQC"}
Model: TypeAlias = Any
"""A FlowSAC, an SAC of Stable-Baselines3 or a TQC of sb3-contrib."""


def available() -> list[str]:
    """The algorithms that are installed."""
    return [name for name in NAMES if ALGORITHMS[name].installed]


def make(algo: str, env: gym.Env[Any, Any] | str, **arguments: Any) -> Model:
    """
    A new model, whatever is not given at the algorithm's defaults.

    :param algo: key of ``NAMES``
    :param env: environment or its id
    :param arguments: of the constructor
    """
    return ALGORITHMS[algo].make(env, **arguments)


def draw(model: Model, states: FloatArray, n: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """
    Actions of the stochastic policy in an environment whose Box is [-1, 1]^d, and the exact logarithm of their density.

    :param model: the trained model, whose random numbers are left alone
    :param states: (batch, state_dim)
    :param n: actions in each state
    :param seed: of the draws
    :return: (batch, n, d) and (batch, n)
    """
    return LearntPolicy(model).sample(states, n, torch.Generator().manual_seed(seed))
