"""Multi-layer perceptrons: an ensemble in one pass, for one action or many actions of each state."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_flowsac.algorithm.critics.base import Critic, CriticLoss, SoftTransitions
from sb3_flowsac.algorithm.critics.quantiles import pool, quantile_huber_loss
from sb3_flowsac.algorithm.running_norm import RunningNorm
from sb3_flowsac.checks import MAX_SIZE, boolean, integer, naming

# Rows of a layer's output that are evaluated at a time without gradients: fewer need more calls, more need arrays so
# large that the system gives them out anew each time
CACHED_ROWS = 1024

LinearMap = tuple[torch.Tensor, torch.Tensor]  # weight (n_members, in, out) and bias (n_members, 1, out)


class EnsembleLinear(nn.Module):
    """
    One linear layer for each member of an ensemble, see ``apply``.

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


def apply(linear_map: LinearMap, x: torch.Tensor) -> torch.Tensor:
    """A batched matrix product, (n_members or 1, rows, in_features) to (n_members, rows, out_features)."""
    weight, bias = linear_map
    return torch.baddbmm(bias, x.expand(weight.shape[0], -1, -1), weight)


class NetworkCritic(Critic):
    """
    Multi-layer perceptrons on [features, a].

    With several quantiles each network gives the distribution of the return, learnt by quantile regression as in TQC.
    The targets are the quantiles of all networks in the next states together, without the largest. To the actor an
    action is worth the mean of all of them. TQC has 25 quantiles and drops 2. Source: arXiv 2005.04269

    The part of the first layer that reads the state is computed once for several actions of a state.

    :param n_quantiles: number of quantiles of the return that each network gives, 1 for the return's mean
    :param top_quantiles_to_drop_per_net: number of the largest quantiles that the targets leave out, for each network
    :param normalize_input: whether the features are normalised by running statistics, which follow the batches
    :param kwargs: arguments of ``Critic``
    :raises ValueError: if an argument is out of range
    """

    layer_class = EnsembleLinear

    def __init__(
        self,
        *,
        n_quantiles: int = 1,
        top_quantiles_to_drop_per_net: int = 0,
        normalize_input: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.n_quantiles = integer("n_quantiles", n_quantiles, 1, MAX_SIZE)
        with naming("top_quantiles_to_drop_per_net must be less than n_quantiles"):
            self.top_quantiles_to_drop_per_net = integer(
                "top_quantiles_to_drop_per_net", top_quantiles_to_drop_per_net, 0, self.n_quantiles - 1
            )
        self.norm = RunningNorm(self.features_dim) if boolean("normalize_input", normalize_input) else None
        sizes = [self.features_dim + self.action_dim, *self.net_arch, self.n_quantiles]
        self.layers = nn.ModuleList(self.layer_class(self.n_critics, n_in, n_out) for n_in, n_out in pairwise(sizes))
        self.activation = self.activation_fn()

    def features(self, obs: PyTorchObs) -> torch.Tensor:
        features = super().features(obs)
        return features if self.norm is None else self.norm(features)

    @torch.no_grad()
    def _update_norm(self, obs: PyTorchObs) -> None:
        if self.norm is not None:
            self.norm.update(super().features(obs))

    def q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return self.quantiles(features, actions).mean(-1)

    def reduce(self, q_values: torch.Tensor) -> torch.Tensor:
        """
        What the critics' values are worth together: the smallest, or with several quantiles their mean, since the
        targets have left out the largest. With several quantiles it concerns the actor alone. See ``Critic.reduce``.
        """
        return super().reduce(q_values) if self.n_quantiles == 1 else q_values.mean(0)

    def loss(self, target: Critic, transitions: SoftTransitions) -> CriticLoss:
        """Error of the soft Bellman equation (1): squared, see ``Critic.loss``, or of several quantiles Huber's."""
        self._update_norm(transitions.observations)
        if self.n_quantiles == 1:
            return super().loss(target, transitions)
        target = cast(NetworkCritic, target)
        with torch.no_grad():
            next_features = target.features(transitions.next_observations)
            next_quantiles = target.quantiles(next_features, transitions.next_actions)
        quantiles = self.quantiles(self.features(transitions.observations), transitions.actions.unsqueeze(1))
        return self._quantile_error(quantiles.squeeze(2), next_quantiles, transitions)

    def _quantile_error(
        self, quantiles: torch.Tensor, next_quantiles: torch.Tensor, transitions: SoftTransitions
    ) -> CriticLoss:
        """
        Of quantiles (n_critics, batch, n_quantiles), with those of the next actions (n_critics, batch, n, n_quantiles)
        without gradient.
        """
        returns = pool(next_quantiles, self.top_quantiles_to_drop_per_net) + transitions.next_bonuses.unsqueeze(-1)
        targets = transitions.rewards + transitions.discounts * returns.flatten(1)
        return CriticLoss(quantile_huber_loss(quantiles, targets), quantiles.detach().mean())

    def quantiles(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """
        Quantiles of the return by every critic, for several actions of each state.

        :param features: (batch, features_dim)
        :param actions: scaled actions (batch, n, action_dim)
        :return: (n_critics, batch, n, n_quantiles)
        """
        first, *deeper = (layer.linear_map() for layer in self.layers)  # type: ignore[operator]
        if actions.shape[1] == 1:
            return self._deeper(deeper, apply(first, torch.cat([features, actions.squeeze(1)], dim=-1))).unsqueeze(2)
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
        return self._deeper(deeper, hidden).view(self.n_critics, batch, n, self.n_quantiles)

    def _deeper(self, maps: Sequence[LinearMap], hidden: torch.Tensor) -> torch.Tensor:
        """From the first layer to the quantiles, (n_critics, rows, units) to (n_critics, rows, n_quantiles)."""
        for linear_map in maps:
            hidden = apply(linear_map, self.activation(hidden))
        return hidden
