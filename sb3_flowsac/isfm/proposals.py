"""Sampling distributions h(u|s): where ISFM draws the actions that it weighs.

A sampling distribution draws latents for each state and knows their density. A user's own is a subclass of
``SamplingDistribution`` with two methods; its support must cover the action box.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch

from sb3_flowsac.flow import ActionTransform, FlowDistribution


class SamplingDistribution(ABC):
    """
    A distribution over latents in each state, with samples and a known density.

    Both methods are called under ``no_grad`` with the current policy in a batch of states and the transform from its
    latents to scaled actions.
    """

    @abstractmethod
    def sample_with_log_prob(
        self, policy: FlowDistribution, transform: ActionTransform, n: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """n latents for each state (batch, n, dim) and the logarithm of their density (batch, n)."""

    @abstractmethod
    def log_prob(self, policy: FlowDistribution, transform: ActionTransform, latents: torch.Tensor) -> torch.Tensor:
        """Log-density of given latents, (batch, n, dim) to (batch, n)."""

    def check(self, n: int) -> None:  # noqa: B027 (most have nothing to refuse)
        """
        Refuse a number of proposals that it cannot draw, before training asks for it.

        :param n: number of proposals in each state
        :raises ValueError: if there is no way to draw so many
        """


class CurrentPolicy(SamplingDistribution):
    """
    The paper's choice: the current policy itself. At the fixed point all weights are equal.

    Proposals come in antithetic pairs, made from noise and its mirror image: near the fixed point the weighted mean of
    the proposals then hardly depends on the noise drawn.
    """

    def sample_with_log_prob(
        self, policy: FlowDistribution, transform: ActionTransform, n: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return policy.sample_with_log_prob(n, antithetic=True)

    def log_prob(self, policy: FlowDistribution, transform: ActionTransform, latents: torch.Tensor) -> torch.Tensor:
        # Only a mixture asks this, of other components' draws; there the trace integral is precise enough
        return policy.log_prob(latents, density="trace")


class UniformBox(SamplingDistribution):
    """Scaled actions uniform on [-1, 1]^d."""

    def sample_with_log_prob(
        self, policy: FlowDistribution, transform: ActionTransform, n: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        like = policy.base.loc
        actions = torch.rand(policy.batch_size, n, policy.dim, dtype=like.dtype, device=like.device) * 2.0 - 1.0
        latents = transform.inverse(actions)
        return latents, self.log_prob(policy, transform, latents)

    def log_prob(self, policy: FlowDistribution, transform: ActionTransform, latents: torch.Tensor) -> torch.Tensor:
        volume = policy.dim * torch.log(torch.tensor(2.0, dtype=latents.dtype))
        return transform.log_det(latents) + transform.log_indicator(latents) - volume.item()


class Mixture(SamplingDistribution):
    """
    Several sampling distributions, each drawing its share of the proposals.

    Every proposal is weighed by the density of the whole mixture (deterministic-mixture weights), which bounds the
    weights by those of the best component divided by its share.

    :param components: the distributions; a mixture among them counts as its components, with its share of their shares
    :param shares: their positive shares, which sum to 1; of n proposals each draws its share rounded, at least one, and
        the first component what remains
    :raises ValueError: if shares and components do not fit
    """

    def __init__(self, components: Sequence[SamplingDistribution], shares: Sequence[float]) -> None:
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

    def sample_with_log_prob(
        self, policy: FlowDistribution, transform: ActionTransform, n: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The log-density is that of the shares that were drawn, as unbiased weights need it, not of the nominal ones."""
        counts = self._counts(n)
        draws = [c.sample_with_log_prob(policy, transform, k) for c, k in zip(self.components, counts, strict=True)]
        latents = torch.cat([u for u, _ in draws], dim=1)
        log_probs = [self._own_and_others(i, draws, policy, transform) for i in range(len(draws))]
        log_shares = torch.log(torch.tensor(counts, dtype=latents.dtype, device=latents.device) / n)
        return latents, torch.logsumexp(torch.stack(log_probs, dim=-1) + log_shares, dim=-1)

    def _own_and_others(
        self,
        index: int,
        draws: Sequence[tuple[torch.Tensor, torch.Tensor]],
        policy: FlowDistribution,
        transform: ActionTransform,
    ) -> torch.Tensor:
        """Component ``index``'s log-density of all draws; that of its own draws is known already."""
        component = self.components[index]
        return torch.cat(
            [known if j == index else component.log_prob(policy, transform, u) for j, (u, known) in enumerate(draws)], dim=1
        )

    def log_prob(self, policy: FlowDistribution, transform: ActionTransform, latents: torch.Tensor) -> torch.Tensor:
        """Log-density of given latents under the nominal shares."""
        log_probs = [c.log_prob(policy, transform, latents) for c in self.components]
        log_shares = torch.log(torch.tensor(self.shares, dtype=latents.dtype, device=latents.device))
        return torch.logsumexp(torch.stack(log_probs, dim=-1) + log_shares, dim=-1)


def _parts(component: SamplingDistribution, share: float) -> list[tuple[SamplingDistribution, float]]:
    """A component with its share, or those of a mixture: shares that are drawn can only be counted at one level."""
    if isinstance(component, Mixture):
        return [(c, share * s) for c, s in zip(component.components, component.shares, strict=True)]
    return [(component, share)]


def defensive_policy(share: float = 0.125) -> SamplingDistribution:
    """
    The current policy with a defensive share drawn uniformly from the action box.

    The share bounds the weights and brings a policy back that has left the box, where every weight of its own is zero.

    :param share: the uniform share, in (0, 1)
    """
    return Mixture([CurrentPolicy(), UniformBox()], [1.0 - share, share])


NAMED: dict[str, Callable[[], SamplingDistribution]] = {
    "defensive": defensive_policy,
    "policy": CurrentPolicy,
    "uniform": UniformBox,
}


def get_sampling_distribution(spec: str | SamplingDistribution) -> SamplingDistribution:
    """
    A sampling distribution by its name, or as given.

    :param spec: "defensive" (policy and a uniform share), "policy" (the paper's), "uniform", or an instance
    :raises ValueError: if the name is unknown
    :raises TypeError: if it is neither a name nor an instance
    """
    if isinstance(spec, SamplingDistribution):
        return spec
    if not isinstance(spec, str):
        raise TypeError(f"sampling_distribution must be a name or a SamplingDistribution, not {type(spec).__name__}")
    if spec not in NAMED:
        raise ValueError(f"sampling_distribution={spec!r} is unknown; choose one of {sorted(NAMED)} or pass an instance")
    return NAMED[spec]()
