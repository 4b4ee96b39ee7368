"""Importance weights, normalised within each state, and what they say about the sampling distribution."""

import math

import torch


def self_normalize(log_weights: torch.Tensor) -> torch.Tensor:
    """
    Weights of the proposals of each state, normalised to sum to one: the unknown Z(s) of equation 9 cancels.

    The largest logarithm is subtracted first, so that no size of Q/alpha overflows. A state all of whose proposals lie
    outside the target's support (every entry -inf) has no weight to give: its row is zero.

    :param log_weights: log (target density / proposal density) up to a constant per state, (batch, n); may be -inf
    :return: (batch, n), rows sum to 1 (or to 0, see above)
    """
    largest = log_weights.amax(-1, keepdim=True)
    weights = (log_weights - largest.clamp(min=torch.finfo(log_weights.dtype).min)).exp()
    return weights / weights.sum(-1, keepdim=True).clamp(min=1.0)  # the largest weight is 1, unless all are 0


# 1, then smaller by factors of sqrt(2), to 1/1024
EXPONENTS = tuple(2.0 ** (-0.5 * k) for k in range(21))


def tempered_weights(
    log_gain: torch.Tensor, log_ratio: torch.Tensor, min_effective: float
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    Self-normalised weights for the target :math:`\pi^{1 - \tau} (p^*)^\tau`, in each state with the largest tau that
    keeps a number of effective proposals.

    tau = 1 is equation 9. With a smaller tau a step goes a part of the way from the policy to the target, the bounded
    improvement step of MPO (https://arxiv.org/abs/1806.06920), so no state is fitted to single draws. The fixed point
    is the same.

    :param log_gain: log p* - log pi of the proposals, up to a constant for each state, (batch, n); may be -inf
    :param log_ratio: log pi minus the log-density that they were drawn from, (batch, n)
    :param min_effective: effective sample size to keep, in [1, n]; with 1 tau is 1 everywhere
    :return: weights (batch, n), see ``self_normalize``, and tau (batch,)
    """
    exponents = torch.tensor(EXPONENTS if min_effective > 1 else EXPONENTS[:1], dtype=log_gain.dtype).to(log_gain)
    weights = self_normalize(exponents.view(-1, 1, 1) * log_gain + log_ratio)
    enough = effective_sample_size(weights) >= min_effective
    enough[-1] = True
    first = enough.to(torch.uint8).argmax(0)
    return weights[first, torch.arange(len(first), device=first.device)], exponents[first]


def effective_sample_size(weights: torch.Tensor) -> torch.Tensor:
    """
    Effective sample size 1 / sum_i w_i^2 of self-normalised weights, between 1 and n (0 for a row of zeros).

    :param weights: (batch, n), rows sum to 1
    :return: (batch,)
    """
    square = weights.square().sum(-1)
    return torch.where(square > 0, 1.0 / square.clamp(min=torch.finfo(weights.dtype).tiny), 0.0)


def renyi_divergence(weights: torch.Tensor, order: float) -> torch.Tensor:
    r"""
    Estimate of the Renyi divergence R_n(target || proposal) = 1/(n-1) log E_h[(target/h)^n] from self-normalised
    weights: 1/(n-1) log( mean(w^n) / mean(w)^n ).

    It is biased low, never above log N, and finite even where the true divergence is infinite. For n = 2 it is
    log N minus the logarithm of the effective sample size.

    :param weights: (batch, n), rows sum to 1; a row of zeros counts as the largest divergence, log N
    :param order: n > 0, not 1; Theorem 2 speaks of n = 4
    :return: (batch,), in nats
    :raises ValueError: if the order is not positive or is 1
    """
    if not order > 0 or order == 1:
        raise ValueError(f"order={order!r} must be positive and not 1")
    n = weights.shape[-1]
    largest = math.log(n)
    divergence = (torch.logsumexp(order * weights.log(), dim=-1) + (order - 1) * largest) / (order - 1)
    return torch.where(weights.sum(-1) > 0, divergence, largest)


def weight_statistics(weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """
    What a batch of weights says of the proposals, as means over the states, see the page on metrics.

    :param weights: (batch, n), rows sum to 1
    :return: ``ess`` (as a share of n), ``renyi_2``, ``renyi_4`` and ``max_weight``
    """
    n = weights.shape[-1]
    return {
        "ess": effective_sample_size(weights).mean() / n,
        "renyi_2": renyi_divergence(weights, 2).mean(),
        "renyi_4": renyi_divergence(weights, 4).mean(),
        "max_weight": weights.amax(-1).mean(),
    }


def resample(weights: torch.Tensor, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """
    Systematic resampling: n indices for each state, index i drawn n w_i times up to rounding, without bias.

    :param weights: (batch, n_proposals), rows sum to 1
    :param n: number of draws for each state
    :param generator: source of randomness; default torch's global one
    :return: indices (batch, n)
    """
    batch, n_proposals = weights.shape
    offset = torch.rand(batch, 1, dtype=weights.dtype, device=weights.device, generator=generator)
    points = (torch.arange(n, dtype=weights.dtype, device=weights.device) + offset) / n
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1:]
    # Rounding must not carry the last point past the last proposal that has weight
    points = torch.minimum(points * total, total * (1.0 - torch.finfo(weights.dtype).eps))
    return torch.searchsorted(cumulative, points, right=True).clamp(max=n_proposals - 1)
