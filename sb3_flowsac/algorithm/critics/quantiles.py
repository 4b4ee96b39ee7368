"""Distributions of returns as quantiles: their truncated pool and their regression. Source: arXiv 2005.04269 (TQC)."""

import torch
import torch.nn.functional as F


def pool(quantiles: torch.Tensor, n_drop: int) -> torch.Tensor:
    """
    The quantiles of all critics together, sorted, without the largest.

    :param quantiles: (n_critics, batch, n, n_quantiles)
    :param n_drop: number of quantiles to drop for each critic
    :return: (batch, n, n_critics * (n_quantiles - n_drop))
    """
    pooled = quantiles.permute(1, 2, 0, 3).flatten(2)
    kept = pooled.shape[-1] - n_drop * quantiles.shape[0]
    return pooled.sort(dim=-1).values[..., :kept]


def quantile_huber_loss(quantiles: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """
    Quantile regression with Huber's loss, mean over critics, batch, quantiles and targets.

    :param quantiles: (n_critics, batch, n_quantiles), of the probabilities (i + 1/2) / n_quantiles
    :param targets: samples of the return, (batch, n_targets), without gradient
    """
    n_quantiles = quantiles.shape[-1]
    indices = torch.arange(n_quantiles, dtype=quantiles.dtype, device=quantiles.device)
    probabilities = (indices.unsqueeze(-1) + 0.5) / n_quantiles
    pairs = (*quantiles.shape, targets.shape[-1])
    quantiles, targets = quantiles.unsqueeze(-1).expand(pairs), targets.unsqueeze(1).expand(pairs)
    weights = torch.where(targets < quantiles, 1.0 - probabilities, probabilities)
    return (weights * F.huber_loss(quantiles, targets, reduction="none")).mean()
