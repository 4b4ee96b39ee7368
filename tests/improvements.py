"""Policy improvement steps with targets in closed form, and quadratures over latents."""

import pytest
import torch

from sb3_flowsac.flow import Identity, Tanh, make_flow
from sb3_flowsac.isfm import Improvement, Mixture, UniformBox

F64 = {"dtype": torch.float64}
TRANSFORMS = pytest.mark.parametrize("transform", [Identity(), Tanh()], ids=["identity", "tanh"])


def waves(actions):
    """Q / alpha of scaled actions: skewed, with several humps, and so flat that no proposal leaves for the box's
    bounds."""
    return 0.25 * torch.sin(4.0 * actions).sum(-1) - 0.2 * actions[..., 0] ** 2


def flow_policy(perturb, dim=1, batch=1, n_steps=32, log_std=-0.7):
    """A non-Gaussian policy in ``batch`` states, without gradients; 32 steps are so fine that both densities agree."""
    flow = make_flow(3, dim, log_std_init=log_std, field_kwargs={"units": 8}, ode_steps=n_steps)
    torch.nn.init.zeros_(flow.base.head.weight)  # about the middle
    with torch.no_grad():
        return perturb(flow.double())(0.5 * torch.randn(batch, 3, **F64))


def step_of(policy, transform, log_action_target=waves):
    """An improvement step of a policy."""
    return Improvement(policy, transform, log_action_target)


def everywhere(dim, step=None):
    """
    The centres of cells of latents, and a cell's volume. The density of every proposal is below 1e-9 outside, and the
    bounds of the box lie between cells.
    """
    step = step or (0.01 if dim == 1 else 0.1)
    axis = -12.0 + step * (torch.arange(round(24.0 / step), **F64) + 0.5)
    grid = axis.unsqueeze(-1) if dim == 1 else torch.cartesian_prod(axis, axis)
    return grid.unsqueeze(0), step**dim


def defensive(component, share=0.125):
    """A sampling distribution with a share drawn uniformly from the action box."""
    return Mixture([component, UniformBox()], [1.0 - share, share])
