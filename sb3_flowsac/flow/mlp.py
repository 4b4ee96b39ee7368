"""A velocity field that is a plain multi-layer perceptron."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from sb3_flowsac.flow.velocity import AutogradVelocity, VelocityField


class MLPField(VelocityField):
    """
    A multi-layer perceptron on [x, t, features]. It starts at v = 0.

    :param features_dim: size of the state's features
    :param dim: dimension of x
    :param affine: without effect
    :param hidden: sizes of the hidden layers
    :param activation_fn: activation between layers
    """

    def __init__(
        self,
        features_dim: int,
        dim: int,
        *,
        affine: bool = False,
        hidden: Sequence[int] = (256, 256),
        activation_fn: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__(features_dim, dim)
        sizes = (dim + 1 + features_dim, *hidden)
        layers = [layer for n_in, n_out in pairwise(sizes) for layer in (nn.Linear(n_in, n_out), activation_fn())]
        last = nn.Linear(sizes[-1], dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(*layers, last)

    def forward(self, features: torch.Tensor) -> AutogradVelocity:
        def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            expanded = features.unsqueeze(1).expand(-1, x.shape[1], -1)
            result: torch.Tensor = self.net(torch.cat([x, t, expanded], dim=-1))
            return result

        return AutogradVelocity(velocity)
