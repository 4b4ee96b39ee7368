"""Critics of networks and transitions for them, for the tests of several kinds."""

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor

from sb3_flowsac.algorithm.critics import SoftTransitions

OBSERVATIONS, ACTIONS = spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(-1, 1, (2,))


def make_critic(critic_class, **kwargs):
    """A critic of 3 features and 2 actions."""
    return critic_class(
        observation_space=OBSERVATIONS,
        action_space=ACTIONS,
        features_extractor=FlattenExtractor(OBSERVATIONS),
        features_dim=3,
        **{"net_arch": [16, 16], **kwargs},
    )


def random_transitions(batch=32, n=2):
    """Transitions with n next actions each."""
    return SoftTransitions(
        observations=torch.randn(batch, 3),
        actions=torch.rand(batch, 2) * 2 - 1,
        rewards=torch.randn(batch, 1),
        discounts=0.9 * torch.ones(batch, 1),
        next_observations=torch.randn(batch, 3),
        next_actions=torch.rand(batch, n, 2) * 2 - 1,
        next_bonuses=torch.randn(batch, n),
    )
