"""Bijections from the space of the flow to the box of scaled actions [-1, 1]^d."""

import math
from abc import ABC, abstractmethod

import torch
from torch.nn import functional as F


class ActionTransform(ABC):
    """
    A bijection a = T(u), applied to each component, from latents u to scaled actions a.

    The action space is the box [-1, 1]^d; ``log_indicator`` says where in the latent space that box lies.
    """

    squashes: bool

    @abstractmethod
    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """The scaled actions of latents, (..., d) to (..., d)."""

    @abstractmethod
    def inverse(self, actions: torch.Tensor) -> torch.Tensor:
        """The latents of scaled actions, (..., d) to (..., d)."""

    @abstractmethod
    def derivative(self, latents: torch.Tensor) -> torch.Tensor:
        """dT/du of each component, (..., d) to (..., d)."""

    @abstractmethod
    def log_det(self, latents: torch.Tensor) -> torch.Tensor:
        """log |det dT/du|, (..., d) to (...)."""

    def bounded_log_det(self, latents: torch.Tensor) -> torch.Tensor:
        """``log_det``, but that of the outermost action for all latents that round to it, (..., d) to (...)."""
        return self.log_det(latents)

    @abstractmethod
    def log_indicator(self, latents: torch.Tensor) -> torch.Tensor:
        """0 where T(u) lies in the box, -inf elsewhere, (..., d) to (...)."""


class Identity(ActionTransform):
    """Unsquashed actions: a = u. Latents outside [-1, 1]^d lie outside the action space."""

    squashes = False

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

    def inverse(self, actions: torch.Tensor) -> torch.Tensor:
        return actions

    def derivative(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(latents)

    def log_det(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(latents[..., 0])

    def log_indicator(self, latents: torch.Tensor) -> torch.Tensor:
        return _log_inside(latents, 1.0)


class Tanh(ActionTransform):
    """
    Squashed actions: a = tanh(u), kept inside the open box so that every action has a finite density.

    Latents that would all round to the same action, the outermost, lie outside the action space: a density of actions
    has next to no mass there, and nothing that looks at actions could tell how far out they are.

    The log-determinant is computed as sum_i 2 (log 2 - u_i - softplus(-2 u_i)), which is exact for any u.
    """

    squashes = True

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        return self._open(torch.tanh(latents))

    def inverse(self, actions: torch.Tensor) -> torch.Tensor:
        return torch.atanh(self._open(actions))

    def derivative(self, latents: torch.Tensor) -> torch.Tensor:
        return 1.0 / torch.cosh(latents).square()

    def log_det(self, latents: torch.Tensor) -> torch.Tensor:
        return (2.0 * (math.log(2.0) - latents - F.softplus(-2.0 * latents))).sum(-1)

    def bounded_log_det(self, latents: torch.Tensor) -> torch.Tensor:
        largest = self._largest(latents)
        return self.log_det(latents.clamp(-largest, largest))

    def log_indicator(self, latents: torch.Tensor) -> torch.Tensor:
        return _log_inside(latents, self._largest(latents))

    def _largest(self, latents: torch.Tensor) -> torch.Tensor:
        """The latent of the outermost action."""
        return self.inverse(torch.ones((), dtype=latents.dtype, device=latents.device))

    @staticmethod
    def _open(actions: torch.Tensor) -> torch.Tensor:
        limit = 1.0 - torch.finfo(actions.dtype).eps
        return actions.clamp(-limit, limit)


def _log_inside(latents: torch.Tensor, largest: float | torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(latents[..., 0]).masked_fill(latents.abs().amax(-1) > largest, -torch.inf)
