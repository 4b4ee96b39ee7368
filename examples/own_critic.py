"""A kind of critics of your own: networks with layer normalisation, and a mean in place of the minimum."""

import argparse
from typing import Any

import torch
from torch import nn

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.critics import Critic


class NormalizedCritic(Critic):
    """
    A network with layer normalisation for each critic.

    :param pessimism: share of the minimum in an action's value; the rest is the critics' mean
    :param kwargs: arguments of ``Critic``
    """

    def __init__(self, *, pessimism: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pessimism = pessimism
        self.networks = nn.ModuleList(self._network() for _ in range(self.n_critics))

    def _network(self) -> nn.Sequential:
        layers: list[nn.Module] = []
        size = self.features_dim + self.action_dim
        for units in self.net_arch:
            layers += [nn.Linear(size, units), nn.LayerNorm(units), self.activation_fn()]
            size = units
        return nn.Sequential(*layers, nn.Linear(size, 1))

    def q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        states = features.unsqueeze(1).expand(-1, actions.shape[1], -1)
        pairs = torch.cat([states, actions], dim=-1)
        return torch.stack([network(pairs).squeeze(-1) for network in self.networks])

    def reduce(self, q_values: torch.Tensor) -> torch.Tensor:
        return self.pessimism * q_values.amin(0) + (1.0 - self.pessimism) * q_values.mean(0)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=5_000, help="environment steps")
steps = parser.parse_args().steps

policy_kwargs = {"critic": NormalizedCritic, "critic_kwargs": {"pessimism": 0.5}}
model = FlowSAC("FlowPolicy", "Pendulum-v1", policy_kwargs=policy_kwargs, seed=0)
model.learn(steps)
print("mean Q value (train/q_value):", model.logger.name_to_value["train/q_value"])
