"""Several sampling distributions at once, with deterministic-mixture weights."""

from collections.abc import Sequence

import torch

from sb3_flowsac.flow import FlowDistribution
from sb3_flowsac.isfm.improvement import Draws, Improvement
from sb3_flowsac.isfm.sampling import PolicyProposal, Proposal, SamplingDistribution


class Mixture(SamplingDistribution):
    """
    Several sampling distributions, each drawing its share of the proposals.

    Every proposal is weighed by the density of the whole mixture (deterministic-mixture weights), which bounds the
    weights by those of the best component divided by its share.

    :param components: the distributions; a mixture among them counts as its components, with its share of their shares
    :param shares: their positive shares, which sum to 1; of n proposals each draws its share rounded, at least one, and
        the first component what remains
    :raises ValueError: if shares and components do not fit
    :raises TypeError: if a component is no instance of ``SamplingDistribution``
    """

    def __init__(self, components: Sequence[SamplingDistribution], shares: Sequence[float]) -> None:
        for i, component in enumerate(components):
            if not isinstance(component, SamplingDistribution):
                raise TypeError(f"components[{i}] must be an instance of SamplingDistribution, got {component!r}")
        if len(components) != len(shares) or not components:
            raise ValueError(
                f"shares={list(shares)} must have one entry for each of {len(components)} (at least 1) components"
            )
        if not (all(share > 0 for share in shares) and abs(sum(shares) - 1.0) <= 1e-6):
            raise ValueError(f"shares={list(shares)} must be positive and sum to 1")
        parts = [part for component, share in zip(components, shares, strict=True) for part in _parts(component, share)]
        self.components, self.shares = tuple(c for c, _ in parts), tuple(share for _, share in parts)

    def check(self, n: int) -> None:
        for component, count in zip(self.components, self._counts(n), strict=True):
            component.check(count)

    def _counts(self, n: int) -> list[int]:
        others = [max(1, round(share * n)) for share in self.shares[1:]]
        first = n - sum(others)
        if first < 1:
            raise ValueError(f"n_proposals={n} is too small for a mixture with shares {list(self.shares)}")
        return [first, *others]

    def given(self, improvement: Improvement, n: int) -> Proposal:
        counts = self._counts(n)
        proposals = [c.given(improvement, count) for c, count in zip(self.components, counts, strict=True)]
        return _MixtureProposal(improvement.policy, proposals, counts)


class _MixtureProposal(Proposal):
    """The log-density is that of the shares that are drawn, as unbiased weights need it, not of the nominal ones."""

    def __init__(self, policy: FlowDistribution, proposals: Sequence[Proposal], counts: Sequence[int]) -> None:
        self.policy, self.proposals, self.counts = policy, proposals, counts

    def sample_with_log_prob(self) -> tuple[torch.Tensor, torch.Tensor]:
        latents, log_probs = self._draw()
        return latents, self._mix(log_probs)

    def draw(self, policy: FlowDistribution) -> Draws:
        latents, log_probs = self._draw()
        own = [p for proposal, p in zip(self.proposals, log_probs, strict=True) if isinstance(proposal, PolicyProposal)]
        return Draws(latents, self._mix(log_probs), own[0] if own else policy.log_prob(latents, density="trace"))

    def _draw(self) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The draws of all components, and the log-density of all of them by each."""
        parts = zip(self.proposals, self.counts, strict=True)
        draws = [proposal.checked_sample(self.policy, n) for proposal, n in parts]
        return torch.cat([u for u, _ in draws], dim=1), [self._own_and_others(i, draws) for i in range(len(draws))]

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        return self._mix([proposal.log_prob(latents) for proposal in self.proposals])

    def _own_and_others(self, index: int, draws: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        """Component ``index``'s log-density of all draws; that of its own draws is known already."""
        # The others are asked for at once: a flow integrates once for all of them
        if len(draws) == 1:
            return draws[0][1]
        before, after = sum(self.counts[:index]), sum(self.counts[index + 1 :])
        others = torch.cat([latents for j, (latents, _) in enumerate(draws) if j != index], dim=1)
        of_before, of_after = torch.split(self.proposals[index].log_prob(others), [before, after], dim=1)
        return torch.cat([of_before, draws[index][1], of_after], dim=1)

    def _mix(self, log_probs: Sequence[torch.Tensor]) -> torch.Tensor:
        stacked = torch.stack(list(log_probs), dim=-1)
        shares = torch.tensor(self.counts, dtype=stacked.dtype, device=stacked.device) / sum(self.counts)
        return torch.logsumexp(stacked + shares.log(), dim=-1)


def _parts(component: SamplingDistribution, share: float) -> list[tuple[SamplingDistribution, float]]:
    """A component with its share, or those of a mixture: shares that are drawn can only be counted at one level."""
    if isinstance(component, Mixture):
        return [(c, share * s) for c, s in zip(component.components, component.shares, strict=True)]
    return [(component, share)]
