"""A policy improvement step: the current policy, and the target towards which ISFM moves it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sb3_flowsac.flow import ActionTransform, FlowDistribution
from sb3_flowsac.isfm.weights import self_normalize


@dataclass(frozen=True)
class Improvement:
    """
    What is known of a policy improvement step in a batch of states.

    :param policy: the current policy in each state, a distribution over latents
    :param transform: from latents to scaled actions
    :param log_action_target: Q / alpha of scaled actions, (batch, n, dim) to (batch, n); a constant for each state and
        call may be missing
    :param replay_actions: the scaled action that the replay buffer holds for each state, (batch, dim), or ``None``
    """

    policy: FlowDistribution
    transform: ActionTransform
    log_action_target: Callable[[torch.Tensor], torch.Tensor]
    replay_actions: torch.Tensor | None = None

    def log_target(self, latents: torch.Tensor) -> torch.Tensor:
        """
        Logarithm of the target exp(Q / alpha) / Z as a density of latents, up to a constant for each state and call.

        :param latents: (batch, n, dim)
        :return: (batch, n); -inf where the action lies outside the box
        """
        transform = self.transform
        log_density = self.log_action_target(transform(latents)) + transform.log_det(latents)
        return log_density + transform.log_indicator(latents)

    def score(self, latents: torch.Tensor) -> torch.Tensor:
        """The gradient of ``log_target``, (batch, n, dim); zero where it is not finite."""
        return _gradient(self.log_target, latents)

    def action_score(self, actions: torch.Tensor) -> torch.Tensor:
        """The gradient of ``log_action_target``, (batch, n, dim); zero where it is not finite."""
        return _gradient(self.log_action_target, actions)

    def weights(self, latents: torch.Tensor, log_prob: torch.Tensor) -> torch.Tensor:
        """
        Self-normalised importance weights of proposals (equation 9), (batch, n).

        :param latents: proposals (batch, n, dim)
        :param log_prob: logarithm of their density (batch, n)
        """
        # A critic may give its values in double precision: only their differences fit into single
        return self_normalize(self.log_target(latents) - log_prob).to(latents.dtype)


def _gradient(function: Callable[[torch.Tensor], torch.Tensor], points: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        points = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(function(points).sum(), points)
    return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
