"""Small policies whose weights are all different from those of new ones, and files of them."""

import numpy as np
import torch
from gymnasium import spaces

from sb3_flowsac import FlowPolicy

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
VECTOR = spaces.Box(-np.inf, np.array([1.0, np.inf, 0.1], np.float32))
ACTION = spaces.Box(np.array([-2.0, 0.1], np.float32), np.array([1.0, 0.7], np.float32))
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
MIXED = spaces.Dict(
    [
        ("vector", VECTOR),
        ("number", spaces.Discrete(4)),
        ("numbers", spaces.MultiDiscrete([2, 3])),
        ("bits", spaces.MultiBinary(3)),
    ]
)


def new(policy_class=FlowPolicy, space=VECTOR, seed=1, **kwargs):
    """A policy whose weights are all different from those that a new one gets."""
    torch.manual_seed(seed)
    policy = policy_class(space, ACTION, lambda _: 1e-3, **{"net_arch": [8], **kwargs})
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return policy


def observations(space, n=5):
    space.seed(0)
    drawn = [space.sample() for _ in range(n)]
    return (
        {key: np.stack([d[key] for d in drawn]) for key in drawn[0]}
        if isinstance(space, spaces.Dict)
        else np.stack(drawn)
    )
