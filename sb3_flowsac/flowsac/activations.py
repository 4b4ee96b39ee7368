"""The units of FlowSAC's networks."""

import torch
import torch.nn.functional as F
from torch import nn

# Of 2x: below, the tail would give numbers so small (denormal) that matrix products of them take several times as long
LEAST = -40.0


class Swish2(nn.Module):
    r"""
    x sigmoid(2x): Swish (arXiv 1710.05941) with beta = 2, between ``torch.nn.SiLU`` (beta = 1) and ``torch.nn.ReLU``.

    Nearly the shape of ``torch.nn.GELU``, whose kernels are slower where they are compiled or get a single observation.
    Below -20 it is constant, -8e-17.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        # In place, since the gradients need no more than the results of threshold and the input of silu
        return F.silu(F.threshold(2.0 * x, LEAST, LEAST, inplace=True)).mul_(0.5)
