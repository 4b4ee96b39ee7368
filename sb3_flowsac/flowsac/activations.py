"""The units of FlowSAC's networks."""

import torch
import torch.nn.functional as F
from torch import nn


class Swish2(nn.Module):
    r"""
    x sigmoid(2x): Swish (arXiv 1710.05941) with beta = 2, between ``torch.nn.SiLU`` (beta = 1) and ``torch.nn.ReLU``.

    Nearly the shape of ``torch.nn.GELU``, whose kernels are slower where they are compiled or get a single observation.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        return F.silu(2.0 * x).mul_(0.5)  # in place: the gradient of silu needs its input alone
