"""Sampling distributions h(u|s): where ISFM draws the actions that it weighs.

A user's own is a subclass of ``SamplingDistribution`` that gives, for the states of a policy improvement step, a
``Proposal``: n latents for each state and the density that they were drawn from. Its support must cover the action box.
"""

import math
from abc import ABC, abstractmethod

import torch

from sb3_flowsac.flow import FlowDistribution
from sb3_flowsac.isfm.improvement import Draws, Improvement


class Proposal(ABC):
    """A sampling distribution in a batch of states. Its methods are called under ``no_grad``."""

    @abstractmethod
    def sample_with_log_prob(self) -> tuple[torch.Tensor, torch.Tensor]:
        """n latents for each state (batch, n, dim), and the logarithm of their density (batch, n)."""

    @abstractmethod
    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        """Log-density of any latents, (batch, k, dim) to (batch, k): what the other components of a mixture have
        drawn."""

    def draw(self, policy: FlowDistribution) -> Draws:
        """
        Proposals with both log-densities; a distribution that knows the policy's anyhow need not ask for it again.

        :param policy: the current policy
        """
        latents, log_prob = self.checked_sample(policy)
        return Draws(latents, log_prob, policy.log_prob(latents, density="trace"))

    def checked_sample(self, policy: FlowDistribution, n: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """
        What ``sample_with_log_prob`` gives, its shapes checked: others might broadcast, and be wrong.

        :param policy: the current policy
        :param n: number of latents in each state, if it is known
        :raises ValueError: if a shape is another
        """
        latents, log_prob = self.sample_with_log_prob()
        n = latents.shape[1] if n is None and latents.dim() == 3 else n
        if latents.shape != (policy.batch_size, n, policy.dim) or log_prob.shape != latents.shape[:2]:
            raise ValueError(
                f"{type(self).__name__}.sample_with_log_prob must give latents of shape (batch, n, dim) and their "
                f"log-densities (batch, n), with batch={policy.batch_size}, n={n or 'any'} and dim={policy.dim}; got "
                f"{tuple(latents.shape)} and {tuple(log_prob.shape)}"
            )
        return latents, log_prob


class SamplingDistribution(ABC):
    """A rule that says where to draw in the states of any policy improvement step."""

    @abstractmethod
    def given(self, improvement: Improvement, n: int) -> Proposal:
        """
        The distribution in the states of a policy improvement step. Called under ``no_grad``.

        :param improvement: the step
        :param n: number of latents that will be drawn for each state
        """

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

    def given(self, improvement: Improvement, n: int) -> Proposal:
        return PolicyProposal(improvement, n)


class PolicyProposal(Proposal):
    """The current policy, see ``SamplingDistribution.given``."""

    def __init__(self, improvement: Improvement, n: int) -> None:
        self.policy, self.n = improvement.policy, n

    def sample_with_log_prob(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.policy.sample_with_log_prob(self.n, antithetic=True)

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        # Only a mixture asks this, of other components' draws; there the trace integral is precise enough
        return self.policy.log_prob(latents, density="trace")

    def draw(self, policy: FlowDistribution) -> Draws:
        latents, log_prob = self.sample_with_log_prob()
        return Draws(latents, log_prob, log_prob)


class UniformBox(SamplingDistribution):
    """Scaled actions uniform on [-1, 1]^d."""

    def given(self, improvement: Improvement, n: int) -> Proposal:
        return _UniformProposal(improvement, n)


class _UniformProposal(Proposal):
    def __init__(self, improvement: Improvement, n: int) -> None:
        self.loc, self.transform, self.n = improvement.policy.base.loc, improvement.transform, n

    def sample_with_log_prob(self) -> tuple[torch.Tensor, torch.Tensor]:
        batch, dim = self.loc.shape
        actions = torch.rand(batch, self.n, dim, dtype=self.loc.dtype, device=self.loc.device) * 2.0 - 1.0
        latents = self.transform.inverse(actions)
        return latents, self.log_prob(latents)

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        log_volume = latents.shape[-1] * math.log(2.0)
        return self.transform.log_det(latents) + self.transform.log_indicator(latents) - log_volume
