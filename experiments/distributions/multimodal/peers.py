"""The algorithms compared, and how to ask each for actions together with their density."""

from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from experiments.runner.algorithms import ALGORITHMS
from maxent_envs.validation import FloatArray
from sb3_flowsac import FlowSAC

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
    observations = states.astype(np.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        if isinstance(model, FlowSAC):
            actions, log_prob = model.policy.sample(observations, n, generator)
        else:
            actions, log_prob = _draw_squashed_gaussian(model, torch.as_tensor(observations), n, generator)
    return actions.double().numpy(), log_prob.double().numpy()


def _draw_squashed_gaussian(
    model: Model, observations: torch.Tensor, n: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    mean, log_std, _ = model.actor.get_action_dist_params(observations)
    noise = torch.randn(len(mean), n, mean.shape[1], generator=generator)
    transform = TanhTransform(cache_size=1)  # it remembers the latents of the actions it has made
    gaussian = Independent(Normal(mean[:, None], log_std.exp()[:, None]), 1)
    actions = transform(mean[:, None] + log_std.exp()[:, None] * noise)
    return actions, TransformedDistribution(gaussian, transform).log_prob(actions)
