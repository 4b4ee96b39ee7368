"""The importance sampling flow matching loss (equations 7 and 9)."""

import math
from typing import NamedTuple

import torch

from sb3_flowsac.flow import FlowDistribution
from sb3_flowsac.isfm.weights import resample


class ISFMLoss(NamedTuple):
    """
    ``flow``: the weighted regression of the velocity field. ``base``: the weighted negative log-likelihood of the base
    distribution, zero for a fixed one. Both are means over states; their sum is what the actor minimises.
    """

    flow: torch.Tensor
    base: torch.Tensor


def flow_matching_loss(
    policy: FlowDistribution,
    latents: torch.Tensor,
    weights: torch.Tensor,
    generator: torch.Generator | None = None,
    shrink: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    r"""
    Weighted flow matching: sum_i w_i || v(x_t, t, s) - velocity of the conditional path ||^2, averaged over states.

    With w_i = 1/n and samples of the target this is equation 5; with importance weights of a sampling distribution it
    is equation 7. Each latent gets one base sample and one time; the times of a state are stratified over [0, 1] in
    random order.

    :param policy: the flow in each state; its base distribution is not moved by this loss
    :param latents: (batch, n, dim)
    :param weights: (batch, n)
    :param generator: source of base samples and times; default torch's global one
    :param shrink: what the whitened latents are multiplied by, see ``scale_of_base``
    """
    y1 = policy.base.detach().whiten(latents) * shrink
    y0 = torch.randn(y1.shape, dtype=y1.dtype, device=y1.device, generator=generator)
    n = y1.shape[1]
    jitter = torch.rand(weights.shape, dtype=y1.dtype, device=y1.device, generator=generator)
    order = torch.rand(weights.shape, device=y1.device, generator=generator).argsort(dim=-1)
    t = (order + jitter) / n
    point = policy.flow.path.sample(y0, y1, t)
    error = (policy.velocity(point.x, t) - point.velocity).square().sum(-1)
    return (weights * point.weight * error).sum(-1).mean()


WIDEST_SHAPE = 1.25  # root mean square of a component of y_1, over its base's


def scale_of_base(y1: torch.Tensor) -> torch.Tensor:
    """
    Factors for the field's targets that leave the scale of the policy to its base distribution.

    A narrow L and a wide y_1 are the same action, so two losses could widen the one and narrow the other without end.
    Where the policy's own y_1 are wider than ``WIDEST_SHAPE`` the field is matched to narrower ones, and the base,
    whose gradient is that of the action, widens.

    :param y1: whitened draws of the policy, (batch, dim)
    :return: a factor of at most 1 for each component, (dim,)
    """
    return (WIDEST_SHAPE / y1.square().mean(0).sqrt().clamp(min=WIDEST_SHAPE)).detach()


def within_reach(policy: FlowDistribution, latents: torch.Tensor) -> torch.Tensor:
    """
    Latents that are not farther from the centre of the base distribution than its ``reach``.

    Ours: the gradient of a likelihood grows with the square of a target's distance in standard deviations. Where the
    base is narrow, a single proposal could outweigh all others. Targets beyond the reach are replaced by points on the
    line to them, so that the base moves there in several steps.

    :param policy: the flow in each state
    :param latents: (batch, n, dim)
    :return: the same shape
    """
    base, reach = policy.base.detach(), policy.flow.base.reach
    if math.isinf(reach):
        return latents
    y1 = base.whiten(latents)
    size = y1.square().mean(-1, keepdim=True).sqrt()
    return torch.where(size > reach, base.unwhiten(y1 * (reach / size)), latents)


def isfm_loss(
    policy: FlowDistribution,
    latents: torch.Tensor,
    weights: torch.Tensor,
    n_pairs: int = 32,
    generator: torch.Generator | None = None,
    shrink: torch.Tensor | float = 1.0,
) -> ISFMLoss:
    """
    The ISFM loss of proposals and their self-normalised weights.

    The training pairs of the field are drawn from the proposals by their weights (systematic resampling): in
    expectation the weighted loss, without a regression for proposals that weigh nothing.

    :param policy: the flow in each state, with gradients
    :param latents: proposals (batch, n, dim)
    :param weights: self-normalised weights (batch, n)
    :param n_pairs: number of pairs for each state. A pair is cheap beside the value of a proposal, and most of the
        regression's noise is that of the pairs' base samples and times, so more pairs than proposals are worth their
        time
    :param generator: source of randomness; default torch's global one
    :param shrink: see ``scale_of_base``
    """
    latents = within_reach(policy, latents)
    index = resample(weights, n_pairs, generator)
    drawn = latents.gather(1, index.unsqueeze(-1).expand(-1, -1, latents.shape[-1]))
    mass = weights.sum(-1, keepdim=True).expand(-1, n_pairs) / n_pairs
    flow = flow_matching_loss(policy, drawn, mass, generator, shrink)
    if not policy.flow.base.learnable:
        return ISFMLoss(flow, torch.zeros_like(flow))
    return ISFMLoss(flow, -(weights * policy.base.log_prob(latents)).sum(-1).mean())
