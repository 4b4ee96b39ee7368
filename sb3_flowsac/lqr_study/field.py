"""The velocity field of a policy that is linear in raw states of any size."""

from typing import Any

import torch

from sb3_flowsac.flow import StructuredField
from sb3_flowsac.flow.structured import StructuredVelocity


class StandardizedField(StructuredField):
    """
    A structured field for raw states: it sees them in units of their root mean square in the first batch that it is
    trained on, no longer than a typical one, and learns more slowly than the base distribution, which it complements.
    """

    scale: torch.Tensor
    SHARE = 0.002  # of the learning rate
    LARGEST = 0.02  # of a gradient: one of far outliers, when the base distribution has moved, teaches little

    def __init__(self, features_dim: int, dim: int, **kwargs: Any) -> None:
        super().__init__(features_dim, dim, **kwargs)
        self.register_buffer("scale", torch.zeros(features_dim))
        for parameter in self.head.parameters():
            parameter.register_hook(self._slow)  # type: ignore[no-untyped-call]

    @classmethod
    def _slow(cls, gradient: torch.Tensor) -> torch.Tensor:
        return cls.SHARE * gradient.clamp(-cls.LARGEST, cls.LARGEST)

    def forward(self, features: torch.Tensor) -> StructuredVelocity:
        if torch.is_grad_enabled() and self.training and not self.scale.any():
            self.scale.copy_(features.detach().square().mean(0).sqrt())
        scaled = features / torch.where(self.scale > 0.0, self.scale, 1.0)
        # Velocities are products of maps of the features: without a bound there are flows that no solver follows
        size: torch.Tensor = scaled.square().mean(-1, keepdim=True).sqrt()
        return super().forward(scaled / size.clamp(min=1.0))
