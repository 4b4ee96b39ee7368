"""Normalisation of the input of a network by running statistics."""

import torch
from torch import nn


class RunningNorm(nn.Module):
    """
    Features minus their running mean, over their running standard deviation, within ``LARGEST`` of them.

    The statistics move when ``update`` is called and at no other time: they start at 0 and 1.

    :param n_features: number of features
    """

    MOMENTUM = 0.01  # after as many updates as that takes, before that the plain mean
    LARGEST = 10.0

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(n_features))
        self.var = nn.Buffer(torch.ones(n_features))
        self.n_updates = nn.Buffer(torch.tensor(0.0))

    @torch.no_grad()
    def update(self, features: torch.Tensor) -> None:
        """
        Follow a batch.

        :param features: (batch, n_features)
        """
        self.n_updates.add_(1)
        rate = (1.0 / self.n_updates).clamp(min=self.MOMENTUM)
        var, mean = torch.var_mean(features, dim=0, correction=0)
        self.var.lerp_(var + (1.0 - rate) * (mean - self.mean).square(), rate)
        self.mean.lerp_(mean, rate)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """
        Normalise features.

        :param features: (batch, n_features)
        :return: the same shape
        """
        normalized = (features - self.mean) * (self.var + 1e-3).rsqrt()
        return normalized.clamp(-self.LARGEST, self.LARGEST)
