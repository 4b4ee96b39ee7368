"""Multi-layer perceptrons: an ensemble in one pass, for one action or many actions of each state."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from sb3_flowsac.algorithm.critics.base import Critic

# Rows of a layer's output that are evaluated at a time without gradients: fewer need more calls, more need arrays so
# large that the system gives them out anew each time
CACHED_ROWS = 1024

LinearMap = tuple[torch.Tensor, torch.Tensor]  # weight (n_members, in, out) and bias (n_members, 1, out)


class EnsembleLinear(nn.Module):
    """
    One linear layer for each member of an ensemble, as a batched matrix product.

    Each member starts as ``torch.nn.Linear`` would.

    :param n_members: size of the ensemble
    :param in_features: size of the input
    :param out_features: size of the output
    """

    def __init__(self, n_members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(n_members, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_members, 1, out_features).uniform_(-bound, bound))

    def linear_map(self) -> LinearMap:
        """Weight and bias."""
        return self.weight, self.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n_members or 1, rows, in_features) to (n_members, rows, out_features)."""
        return apply(self.linear_map(), x)


def apply(linear_map: LinearMap, x: torch.Tensor) -> torch.Tensor:
    """Apply a linear map, (n_members or 1, rows, in_features) to (n_members, rows, out_features)."""
    weight, bias = linear_map
    return torch.baddbmm(bias, x.expand(weight.shape[0], -1, -1), weight)


class NetworkCritic(Critic):
    """
    Multi-layer perceptrons on [features, a].

    The part of the first layer that reads the state is computed once for several actions of a state.

    :param kwargs: arguments of ``Critic``
    """

    layer_class = EnsembleLinear

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sizes = [self.features_dim + self.action_dim, *self.net_arch, 1]
        self.layers = nn.ModuleList(self.layer_class(self.n_critics, n_in, n_out) for n_in, n_out in pairwise(sizes))
        self.activation = self.activation_fn()

    def q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        first, *deeper = (layer.linear_map() for layer in self.layers)  # type: ignore[operator]
        if actions.shape[1] == 1:
            return self._deeper(deeper, apply(first, torch.cat([features, actions.squeeze(1)], dim=-1)))
        of_features, of_actions = torch.split(first[0], [self.features_dim, self.action_dim], dim=1)
        state_part = apply((of_features, first[1]), features)
        if torch.is_grad_enabled() or actions.is_cuda:
            return self._of_actions(deeper, state_part, actions, of_actions)
        states = max(1, CACHED_ROWS // actions.shape[1])
        blocks = zip(torch.split(state_part, states, dim=1), torch.split(actions, states), strict=True)
        return torch.cat([self._of_actions(deeper, *block, of_actions) for block in blocks], dim=1)

    def _of_actions(
        self, deeper: Sequence[LinearMap], state_part: torch.Tensor, actions: torch.Tensor, of_actions: torch.Tensor
    ) -> torch.Tensor:
        batch, n, _ = actions.shape
        hidden = actions.flatten(0, 1).expand(self.n_critics, -1, -1) @ of_actions
        hidden = hidden.view(self.n_critics, batch, n, -1).add_(state_part.unsqueeze(2)).flatten(1, 2)
        return self._deeper(deeper, hidden).view(self.n_critics, batch, n)

    def _deeper(self, maps: Sequence[LinearMap], hidden: torch.Tensor) -> torch.Tensor:
        """From the first layer to the values, (n_critics, rows, units) to (n_critics, rows, 1)."""
        for linear_map in maps:
            hidden = apply(linear_map, self.activation(hidden))
        return hidden
