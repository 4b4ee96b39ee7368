"""A velocity field of your own: a network v(x, t) for each state, with divergence and Jacobian by autograd."""

import argparse

import torch
from torch import nn

from sb3_flowsac import FlowSAC
from sb3_flowsac.flow import AutogradVelocity, VelocityField


class ResidualField(VelocityField):
    """A residual network on the point and the time, modulated by the state's features. It starts at v = 0."""

    def __init__(self, features_dim: int, dim: int, *, affine: bool, width: int = 64) -> None:
        super().__init__(features_dim, dim)  # affine needs no care: the network can scale and shift
        self.enter = nn.Linear(dim + 1, width)
        self.scale_and_shift = nn.Linear(features_dim, 2 * width)
        self.block = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.leave = nn.Linear(width, dim)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, features: torch.Tensor) -> AutogradVelocity:
        scale, shift = self.scale_and_shift(features).unsqueeze(1).chunk(2, dim=-1)

        def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            hidden = self.enter(torch.cat([x, t], dim=-1)) * (1.0 + scale) + shift
            result: torch.Tensor = self.leave(hidden + self.block(hidden))
            return result

        return AutogradVelocity(velocity)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=5_000, help="environment steps")
steps = parser.parse_args().steps

model = FlowSAC(
    "FlowPolicy", "Pendulum-v1", policy_kwargs={"field": ResidualField, "field_kwargs": {"width": 32}}, seed=0
)
model.learn(steps)
actions, log_prob = model.policy.sample(model.observation_space.sample(), n=1000)
print("entropy of the policy in a state, in nats:", -log_prob.mean().item())
