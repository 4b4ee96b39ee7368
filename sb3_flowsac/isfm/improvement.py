"""A policy improvement step: the current policy, and the target towards which ISFM moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from sb3_flowsac.flow import ActionTransform, FlowDistribution
from sb3_flowsac.isfm.weights import tempered_weights


class Draws(NamedTuple):
    """
    Proposals, ``latents`` (batch, n, dim), with two log-densities of each, (batch, n): that of what they were drawn
    from, and that of the current policy.
    """

    latents: torch.Tensor
    log_prob: torch.Tensor
    log_policy: torch.Tensor


@dataclass(frozen=True)
class Improvement:
    """
    What is known of a policy improvement step in a batch of states.

    :param policy: the current policy in each state, a distribution over latents
    :param transform: from latents to scaled actions
    :param log_action_target: Q / alpha of scaled actions, (batch, n, dim) to (batch, n); a constant for each state and
        call may be missing
    """

    policy: FlowDistribution
    transform: ActionTransform
    log_action_target: Callable[[torch.Tensor], torch.Tensor]

    def log_target(self, latents: torch.Tensor) -> torch.Tensor:
        """
        Logarithm of the target exp(Q / alpha) / Z as a density of latents, up to a constant for each state and call.

        :param latents: (batch, n, dim)
        :return: (batch, n); -inf where the action lies outside the box
        """
        transform = self.transform
        log_density = self.log_action_target(transform(latents)) + transform.log_det(latents)
        return log_density + transform.log_indicator(latents)

    def action_score(self, actions: torch.Tensor) -> torch.Tensor:
        """The gradient of ``log_action_target``, (batch, n, dim); zero where it is not finite."""
        with torch.enable_grad():
            points = actions.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.log_action_target(points).sum(), points)
        return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    def tempered_weights(self, draws: Draws, min_effective: float) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Self-normalised importance weights of proposals (equation 9), tempered so that enough of them are effective, see
        ``isfm.weights.tempered_weights``.

        :param draws: proposals
        :param min_effective: effective sample size to keep, at least 1; with 1 the weights are those of equation 9
        :return: weights (batch, n), and the exponent tau of each state (batch,)
        """
        latents, log_prob, log_policy = draws
        log_gain = self.log_target(latents) - log_policy
        weights, tau = tempered_weights(log_gain, log_policy - log_prob, min_effective)
        # A critic may give its values in double precision: only their differences fit into single
        return weights.to(latents.dtype), tau
