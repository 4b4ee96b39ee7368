"""Velocity fields: what a flow asks of one, and a class that answers by automatic differentiation."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.func import jvp, vmap

Time = float | torch.Tensor  # one time for all points, or one for each point (batch, n)
NumpyArray = npt.NDArray[np.floating[Any]]
NumpyVelocity = Callable[[NumpyArray, float], NumpyArray]


class Velocity(Protocol):
    """A velocity field v(x, t) with its state already given. ``x`` has shape (batch, n, dim)."""

    def __call__(self, x: torch.Tensor, t: Time) -> torch.Tensor:
        """Velocity at ``x``, shape (batch, n, dim)."""

    def divergence(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        """Velocity and tr(dv/dx), shapes (batch, n, dim) and (batch, n)."""

    def linearise(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        """Velocity and what ``jacobian`` needs to know of these points, shapes (batch, n, dim) and (batch, n, ...)."""

    def jacobian(self, local: torch.Tensor) -> torch.Tensor:
        """
        dv/dx from what ``linearise`` gave, (batch, n, ...) to (batch, n, dim, dim) with entry [..., i, j] = dv_i/dx_j.

        It is linear in ``local``, and the points may be those of several calls: Jacobians are cheaper all at once.
        """


class AutogradVelocity:
    """
    A velocity from a function v(x, t) alone: divergence and Jacobian by forward-mode differentiation, one pass for each
    dimension.

    :param function: v, from points (batch, n, dim) and times (batch, n, 1) to velocities (batch, n, dim), in operations
        of torch that have a forward derivative
    """

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        self.function = function

    def __call__(self, x: torch.Tensor, t: Time) -> torch.Tensor:
        time = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(x.shape[:-1]).unsqueeze(-1)
        return self.function(x, time)

    def divergence(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        velocity, jacobian = self.linearise(x, t)
        return velocity, jacobian.diagonal(dim1=-2, dim2=-1).sum(-1)

    def linearise(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        directions = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
        points = x.contiguous()  # forward mode writes to its tangents, which may not share memory as expanded ones do

        def column(direction: torch.Tensor) -> torch.Tensor:
            derivative: torch.Tensor = jvp(lambda y: self(y, t), (points,), (direction.expand_as(x).contiguous(),))[1]
            return derivative

        # Not out_dims=-1: vmap cannot place a derivative there that is the same in all directions, such as 0
        return self(x, t), vmap(column)(directions).movedim(0, -1)

    def jacobian(self, local: torch.Tensor) -> torch.Tensor:
        return local


class VelocityField(nn.Module, ABC):
    """
    A velocity field that depends on a state. A field of one's own is a subclass of which ``make_flow`` is given the
    class; its constructor takes ``(features_dim, dim, *, affine, **field_kwargs)``.

    With ``affine`` the base distribution is N(0, I) in every state, so the field itself has to be able to carry a
    Gaussian to a Gaussian. A field that can do so anyhow may ignore it.

    :param features_dim: size of the state's features
    :param dim: dimension of the space in which the flow lives
    :param affine: whether the base distribution is N(0, I) in every state
    """

    def __init__(self, features_dim: int, dim: int, *, affine: bool = False) -> None:
        super().__init__()
        self.features_dim, self.dim = features_dim, dim

    @classmethod
    def default_kwargs(cls, dim: int) -> dict[str, Any]:
        """
        The ``field_kwargs`` to write down where the user gave none, so that files keep their meaning when defaults
        change.

        :param dim: dimension of the space in which the flow lives
        """
        return {}

    def prepare(self, times: tuple[float, ...]) -> None:
        """
        Be told at which times the solver will ask for the velocity.

        :param times: times in [0, 1]
        """

    @abstractmethod
    def forward(self, features: torch.Tensor) -> Velocity:
        """
        The field of each state.

        :param features: (batch, features_dim)
        :return: a velocity that takes points of shape (batch, n, dim)
        """
