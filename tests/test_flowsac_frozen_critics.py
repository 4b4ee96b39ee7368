"""The actor on critics that stand still, where a policy that runs away is cheap to see: saturated and sharp Q."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.critics import Critic

STATES, DIM = 4, 3


class Still(gym.Env):
    """Gives the spaces."""

    observation_space = spaces.Box(-3.0, 3.0, (STATES,))
    action_space = spaces.Box(-1.0, 1.0, (DIM,))


def saturated(states, actions):
    """Largest in a corner of the Box, which changes with the state."""
    return 50.0 * (torch.sign(states[:, None, :DIM]) * actions).sum(-1)


def sharp(states, actions):
    """A Gaussian, 0.003 wide in one direction and 0.1 in the others, whose mean follows the state."""
    error = actions - 0.5 * torch.tanh(states[:, None, :DIM])
    return -0.5 * ((error.sum(-1) / 0.003).square() + (error / 0.1).square().sum(-1))


class Frozen(Critic):
    """A known Q."""

    def __init__(self, q_function):
        extractor = FlattenExtractor(Still.observation_space)
        super().__init__(Still.observation_space, Still.action_space, extractor, STATES, n_critics=1)
        self.q_function = q_function

    def q_values(self, features, actions):
        return self.q_function(features, actions).unsqueeze(0)


# Of exp(Q): exponential distributions of rate 50; the Gaussian
SATURATED = DIM * (1.0 - np.log(50.0))
SHARP = 0.5 * (DIM * np.log(2.0 * np.pi * np.e * 0.01) - np.log(1.0 + DIM * (0.1 / 0.003) ** 2))


def improved(q_function, updates):
    """A model at temperature 1 after improvements, and the entropy after each."""
    model = FlowSAC("FlowPolicy", Still(), ent_coef=1.0, seed=0, device="cpu")
    model.critic, alpha = Frozen(q_function), model.entropy_coefficient()
    entropies = []
    for _ in range(updates):
        states = torch.randn(64, STATES)
        model._n_updates += model.policy_delay  # ISFM has a part in every other
        model.improve_actor(states, alpha)
        entropies.append(-model.actor.action_log_prob(states)[1].mean().item())
    return model, np.array(entropies)


def check(q_function, entropy, updates):
    model, entropies = improved(q_function, updates)
    policy = model.actor.distribution(torch.randn(256, STATES))
    u, _ = policy.sample_with_log_prob(16, density="trace")
    assert np.abs(entropies[-updates // 10 :] - entropy).max() < 6.0
    assert abs(entropies[-updates // 10 :].mean() - entropy) < 3.0
    assert u.abs().max() < 8.0 and policy.base.whiten(u).square().mean().sqrt() < 2.5
    assert abs(policy.log_prob_bias()) < 0.05


CASES = pytest.mark.parametrize(("q_function", "entropy"), [(saturated, SATURATED), (sharp, SHARP)])


@CASES
def test_no_latent_runs_away(q_function, entropy):
    check(q_function, entropy, 500)


@pytest.mark.study
@CASES
def test_nor_in_the_long_run(q_function, entropy):
    check(q_function, entropy, 30_000)
