"""The conditional path from a base sample to an action, and its velocity: what flow matching regresses on."""

from typing import NamedTuple

import torch


class PathSample(NamedTuple):
    """Points on the path (..., dim), the conditional velocity there (..., dim) and the weight of the regression
    (...)."""

    x: torch.Tensor
    velocity: torch.Tensor
    weight: torch.Tensor


class CondOTPath:
    r"""
    The straight (conditional optimal transport) path of the paper, y_t = t y_1 + (1 - t) y_0, in the coordinates x = y.

    Its conditional velocity is y_1 - y_0 and the loss is the paper's equation 5.
    """

    def sample(self, y0: torch.Tensor, y1: torch.Tensor, t: torch.Tensor) -> PathSample:
        """
        Points and velocities at the times t.

        :param y0: base samples (..., dim)
        :param y1: target samples (..., dim)
        :param t: times (...)
        """
        t = t.unsqueeze(-1)
        return PathSample(t * y1 + (1.0 - t) * y0, y1 - y0, torch.ones_like(t.squeeze(-1)))


class NormalizedPath(CondOTPath):
    r"""
    The straight path in coordinates of constant spread, x_t = y_t / r_t with r_t^2 = t^2 + (1 - t)^2.

    If y_0 and y_1 are independent and both N(0, I), then x_t is N(0, I) at every time and its marginal velocity is
    zero: the field has to learn only what is not Gaussian, and a Gaussian is exact in any number of steps. The
    conditional velocity is (dy/dt - r_t' x_t) / r_t with r_t' = (2t - 1) / r_t; the weight r_t^2 measures its error as
    in y.
    """

    def sample(self, y0: torch.Tensor, y1: torch.Tensor, t: torch.Tensor) -> PathSample:
        t = t.unsqueeze(-1)
        square = t.square() + (1.0 - t).square()
        r = square.sqrt()
        x = (t * y1 + (1.0 - t) * y0) / r
        velocity = (y1 - y0) / r - x * ((2.0 * t - 1.0) / square)
        return PathSample(x, velocity, square.squeeze(-1))
