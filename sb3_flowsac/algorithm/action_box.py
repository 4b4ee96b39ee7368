"""The Box of actions and the scaled actions that actor and critics work in."""

import torch
from gymnasium import spaces
from torch import nn


class ActionBox(nn.Module):
    """
    The map of each component of a Box to [-1, 1]: u_i = m_i + a_i c_i, with m_i the middle of the Box and c_i half its
    width. Actions near the middle of a wide Box keep their digits.

    :param space: the action space
    """

    def __init__(self, space: spaces.Box) -> None:
        super().__init__()
        low, high = (torch.as_tensor(bound.ravel(), dtype=torch.float32) for bound in (space.low, space.high))
        self.low = nn.Buffer(low, persistent=False)
        self.high = nn.Buffer(high, persistent=False)
        self.middle = nn.Buffer(0.5 * (low + high), persistent=False)
        self.scale = nn.Buffer(0.5 * (high - low), persistent=False)  # c

    @property
    def log_volume(self) -> torch.Tensor:
        """sum_i log c_i: what the log-density of an action in the environment's units is lower by, ()."""
        return self.scale.log().sum()

    def unscale(self, scaled: torch.Tensor) -> torch.Tensor:
        """Actions in the environment's units, (..., dim) to (..., dim)."""
        return self.middle + scaled * self.scale

    def to_scaled(self, actions: torch.Tensor) -> torch.Tensor:
        """Scaled actions, (..., dim) to (..., dim)."""
        return (actions - self.middle) / self.scale

    def clamp(self, actions: torch.Tensor) -> torch.Tensor:
        """Actions in the environment's units, clipped to the Box."""
        return actions.clamp(self.low, self.high)

    def is_outside(self, scaled: torch.Tensor) -> torch.Tensor:
        """Where scaled actions are outside, (..., dim) to (...); the rounding of the environment's units is not."""
        largest = torch.maximum(self.low.abs(), self.high.abs())
        rounding = 4 * torch.finfo(scaled.dtype).eps * (1.0 + largest / self.scale)
        return (scaled.abs() > 1.0 + rounding).any(-1)
