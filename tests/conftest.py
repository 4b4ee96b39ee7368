"""Fixtures that several test files share."""

import numpy as np
import pytest
import torch

from sb3_flowsac import FlowSAC

TINY = {"learning_starts": 20, "batch_size": 16, "buffer_size": 1000, "n_proposals": 8, "seed": 0, "device": "cpu"}


@pytest.fixture(autouse=True)
def _seeded():
    """The same global random state before every test, whatever ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def perturb():
    """Add seeded normal noise to every parameter of a module: new fields start at zero, which tests nothing."""

    def add_noise(module, scale=0.1, seed=1):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                noise = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
                parameter.add_(scale * noise.to(parameter.dtype))
        return module

    return add_noise


@pytest.fixture
def make_model():
    """A FlowSAC with tiny networks that starts to learn after a few steps."""

    def make(env, policy="FlowPolicy", policy_kwargs=None, **kwargs):
        policy_kwargs = {"net_arch": [16], **(policy_kwargs or {})}
        return FlowSAC(policy, env, policy_kwargs=policy_kwargs, **{**TINY, **kwargs})

    return make
