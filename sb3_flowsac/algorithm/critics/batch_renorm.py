"""Critics with batch renormalisation and without target networks: CrossQ's."""

import torch
from torch import nn

from sb3_flowsac.algorithm.critics.base import Critic, CriticLoss, SoftTransitions
from sb3_flowsac.algorithm.critics.network import EnsembleLinear, LinearMap, NetworkCritic, apply

R_MAX, D_MAX = 3.0, 5.0  # of the corrections towards the running statistics
WARM_UP = 100_000  # batches with plain batch normalisation


class BatchRenorm(nn.Module):
    """
    Batch renormalisation of each member of an ensemble, as the affine map x -> scale x + shift that it is.

    The statistics are a batch's, after ``WARM_UP`` batches corrected towards the running ones, or the running ones: the
    same as ``sb3_contrib.common.torch_layers.BatchRenorm1d``. Source: https://arxiv.org/abs/1702.03275

    :param n_members: size of the ensemble
    :param n_features: number of features
    """

    eps = 1e-3  # added to the variance
    momentum = 0.01  # rate at which the running statistics follow the batches'

    def __init__(self, n_members: int, n_features: int) -> None:
        super().__init__()
        self.running_mean = nn.Buffer(torch.zeros(n_members, 1, n_features))
        self.running_var = nn.Buffer(torch.ones(n_members, 1, n_features))
        self.steps = nn.Buffer(torch.tensor(0.0))  # no integer: rand_like takes none, which SB3's tests call
        self.weight = nn.Parameter(torch.ones(n_members, 1, n_features))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_features))

    def forward(self, batch: torch.Tensor | None = None) -> LinearMap:
        """
        Scale and shift, both (n_members, 1, n_features).

        :param batch: what is normalised by its own statistics, (n_members or 1, rows, n_features) with at least two
            rows, which the running ones then follow; ``None`` for the running ones
        """
        mean, var = (self.running_mean, self.running_var) if batch is None else self._statistics(batch)
        scale = self.weight * (var + self.eps).rsqrt()
        return scale, self.bias - mean * scale

    def _statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = x.mean(1, keepdim=True)
        # torch.var_mean along this axis takes ten times as long
        var = (x - mean).square().sum(1, keepdim=True) / (x.shape[1] - 1)
        running_std, std = (self.running_var + self.eps).sqrt(), (var + self.eps).sqrt()
        is_warm = self.steps > WARM_UP
        r = torch.where(is_warm, (std / running_std).detach().clamp(1.0 / R_MAX, R_MAX), 1.0)
        d = torch.where(is_warm, ((mean - self.running_mean) / running_std).detach().clamp(-D_MAX, D_MAX), 0.0)
        with torch.no_grad():
            self.running_mean.lerp_(mean.expand_as(self.running_mean), self.momentum)
            self.running_var.lerp_(var.expand_as(self.running_var), self.momentum)
            self.steps.add_(1)
        # The clamp: of a constant feature the root would have an infinite gradient
        return mean - d * var.clamp(min=torch.finfo(var.dtype).tiny).sqrt() / r, var / r.square()


class RenormLinear(EnsembleLinear):
    """
    Batch renormalisation and then a linear layer, for each member of an ensemble, as one linear map.

    Its arguments are those of ``EnsembleLinear``.
    """

    def __init__(self, n_members: int, in_features: int, out_features: int) -> None:
        super().__init__(n_members, in_features, out_features)
        self.norm = BatchRenorm(n_members, in_features)

    def linear_map(self, batch: torch.Tensor | None = None) -> LinearMap:
        """
        Weight and bias of both.

        :param batch: see ``BatchRenorm``
        """
        scale, shift = self.norm(batch)
        return scale.transpose(1, 2) * self.weight, torch.baddbmm(self.bias, shift, self.weight)


class BatchRenormCritic(NetworkCritic):
    """
    Multi-layer perceptrons on [features, a] with batch renormalisation before each linear layer, as in CrossQ.

    ``loss`` passes (s, a) and (s', a') through the networks in one batch, normalised by the statistics of both, so no
    target network is needed. Everything else is normalised by the running statistics.
    Source: https://openreview.net/forum?id=PczQtTsTIX

    :param kwargs: arguments of ``NetworkCritic``
    """

    uses_target = False
    layer_class = RenormLinear

    def loss(self, target: Critic, transitions: SoftTransitions) -> CriticLoss:
        self._update_norm(transitions.observations)
        batch, n = transitions.next_actions.shape[:2]
        features = self.features(transitions.observations)
        next_features = self.features(transitions.next_observations).repeat_interleave(n, dim=0)
        actions = torch.cat([transitions.actions, transitions.next_actions.flatten(0, 1)])
        hidden = torch.cat([torch.cat([features, next_features]), actions], dim=-1).unsqueeze(0)
        for i, layer in enumerate(self.layers):
            hidden = self.activation(hidden) if i else hidden
            hidden = apply(layer.linear_map(hidden), hidden)  # type: ignore[operator]
        quantiles, next_quantiles = torch.split(hidden, [batch, batch * n], dim=1)
        next_quantiles = next_quantiles.detach().view(self.n_critics, batch, n, -1)
        if self.n_quantiles == 1:
            return self._squared_error(quantiles.squeeze(2), self.reduce(next_quantiles.squeeze(3)), transitions)
        return self._quantile_error(quantiles, next_quantiles, transitions)
