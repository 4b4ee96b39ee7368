"""Sampling distributions made of Gaussian kernels, around draws of the policy that follow Q's gradient or replay
actions."""

import math

import torch

from sb3_flowsac.checks import positive
from sb3_flowsac.flow import LOG_SCALE_MIN, standard_normal_log_prob
from sb3_flowsac.isfm.improvement import Improvement
from sb3_flowsac.isfm.sampling import Proposal, SamplingDistribution

MIN_BANDWIDTH = math.exp(LOG_SCALE_MIN)
NEIGHBOUR = 2  # whose distance sets a kernel's bandwidth: the nearest one alone is too often by chance very near


class KernelMixture(Proposal):
    r"""
    A mixture of Gaussian kernels in each state, :math:`h(u) = \sum_k w_k N(u; c_k, \mathrm{diag}(b_k)^2)`.

    :param centres: c, (batch, kernels, dim)
    :param bandwidths: b, positive, broadcast to the centres' shape
    :param log_shares: log w, (kernels,)
    :param owner: which kernel makes each draw, (batch, n)
    :param noise: standard normal, (batch, n, dim)
    """

    def __init__(
        self,
        centres: torch.Tensor,
        bandwidths: torch.Tensor,
        log_shares: torch.Tensor,
        owner: torch.Tensor,
        noise: torch.Tensor,
    ) -> None:
        self.centres, self.bandwidths, self.log_shares = centres, bandwidths.expand_as(centres), log_shares
        self.owner, self.noise = owner, noise

    def sample_with_log_prob(self) -> tuple[torch.Tensor, torch.Tensor]:
        index = self.owner.unsqueeze(-1).expand_as(self.noise)
        latents = torch.addcmul(self.centres.gather(1, index), self.bandwidths.gather(1, index), self.noise)
        return latents, self.log_prob(latents)

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        standardized = (latents.unsqueeze(2) - self.centres.unsqueeze(1)) / self.bandwidths.unsqueeze(1)
        log_kernels = standard_normal_log_prob(standardized) - self.bandwidths.log().sum(-1).unsqueeze(1)
        return torch.logsumexp(log_kernels + self.log_shares, dim=-1)


class GuidedKernels(SamplingDistribution):
    r"""
    Kernels around draws of the current policy that were moved along the gradient of the target.

    Half as many anchors u_k as draws come from the policy, in antithetic pairs. Each has a bandwidth of its own,
    :math:`b_k = d_k / \sqrt{2 d}` with d_k the distance to its second nearest neighbour, moves by half a Langevin step,
    :math:`\frac{1}{2} b_k^2 \nabla \log p^*(u_k)`, at most :math:`b_k \sqrt{d}` far, and draws twice, mirrored at its
    centre. A kernel may be narrower than the target: a mixture with a wide component bounds the weights.
    """

    def check(self, n: int) -> None:
        if n < 3:
            raise ValueError(f"n_proposals={n} leaves {n} for guided kernels, which need 3")

    def given(self, improvement: Improvement, n: int) -> Proposal:
        policy = improvement.policy
        n_anchors = (n + 1) // 2
        anchors = policy.push(policy.noise(n_anchors, antithetic=True))
        bandwidths = _bandwidths(anchors)
        move = 0.5 * bandwidths.square() * improvement.score(anchors)
        longest = bandwidths * math.sqrt(policy.dim)
        move = move * (longest / move.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(move.dtype).tiny)).clamp(max=1.0)
        owner = torch.arange(n, device=anchors.device) % n_anchors
        log_shares = torch.log(torch.bincount(owner).to(anchors.dtype) / n)
        noise = policy.noise(n, antithetic=True)
        return KernelMixture(anchors + move, bandwidths, log_shares, owner.expand(policy.batch_size, n), noise)


def _bandwidths(points: torch.Tensor) -> torch.Tensor:
    """The distance of each point to its second nearest neighbour, over sqrt(2 d): (batch, n, dim) to (batch, n, 1)."""
    n, dim = points.shape[1:]
    distances = torch.cdist(points, points)
    neighbour = distances.kthvalue(min(NEIGHBOUR + 1, n), dim=-1, keepdim=True).values  # the first is the point itself
    return (neighbour / math.sqrt(2.0 * dim)).clamp(min=MIN_BANDWIDTH)


class ReplayKernels(SamplingDistribution):
    """
    The actions of the replay batch, whatever their states, smoothed by a kernel: what behaviour has tried lately.

    The density is a kernel estimate over all actions of the batch, with a bandwidth for each dimension by Scott's rule
    times a factor. Draws come in pairs, mirrored at an action that is chosen at random.

    :param factor: positive factor of the bandwidth
    :raises ValueError: if the factor is not positive
    """

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = positive("factor", factor)

    def given(self, improvement: Improvement, n: int) -> Proposal:
        """
        :raises ValueError: if the improvement step knows no replay actions
        """
        if improvement.replay_actions is None:
            raise ValueError("ReplayKernels needs the replay_actions of the improvement step, and there are none")
        centres = improvement.transform.inverse(improvement.replay_actions)
        batch, dim = centres.shape
        scott = self.factor * batch ** (-1.0 / (dim + 4))
        bandwidths = (scott * centres.std(0, correction=0)).clamp(min=MIN_BANDWIDTH)
        pairs = torch.randint(batch, (batch, (n + 1) // 2), device=centres.device)
        owner = torch.cat([pairs, pairs], dim=1)[:, :n]
        log_shares = torch.full((batch,), -math.log(batch), dtype=centres.dtype, device=centres.device)
        noise = improvement.policy.noise(n, antithetic=True)
        return KernelMixture(centres.expand(batch, batch, dim), bandwidths, log_shares, owner, noise)
