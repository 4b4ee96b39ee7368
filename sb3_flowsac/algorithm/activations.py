"""The units of FlowSAC's networks."""

import torch
import torch.nn.functional as F
from torch import nn

# Of x, added: the tail alone is made of numbers so small (denormal) that matrix products of them take several times as
# long
TAIL = 1e-20


class Swish2(nn.Module):
    r"""
    x (sigmoid(2x) + 1e-20): Swish (arXiv 1710.05941) with beta = 2, between ``torch.nn.SiLU`` and ``torch.nn.ReLU``.

    Nearly the shape of ``torch.nn.GELU``, whose kernels are slower where they are compiled or get a single observation.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        # In place, since the gradient of silu needs its input alone
        return F.silu(2.0 * x).add_(x, alpha=2.0 * TAIL).mul_(0.5)
