"""Quadratic forms in state and action: the shape of a linear-quadratic regulator's values."""

from typing import Any

import torch
from gymnasium import spaces
from torch import nn

from sb3_flowsac.algorithm.critics.base import Critic


class QuadraticCritic(Critic):
    r"""
    Quadratic forms, Q(s, a) = z'Sz + c with z = [features, (a - a_0) / unit] and a_0 the scaled action that is 0 in the
    environment's units: the shape of a linear-quadratic regulator's values.

    The exact Q function of a max-entropy LQR is of this kind (Lemma 1) if the features are the state itself, where a
    network of rectifiers would approximate it.

    Values are as large as returns, but an optimizer such as Adam moves each parameter by about the learning rate,
    whatever the parameter's scale: S and c are therefore learnt divided by ``FORM_SCALE`` and ``CONSTANT_SCALE``, and
    actions are measured in a unit of their spread. A constant that lags behind the returns would be made up for by S.

    :param action_unit: spread of the actions, in scaled units
    :param kwargs: arguments of ``Critic``
    """

    action_space: spaces.Box
    zero_action: torch.Tensor
    FORM_SCALE = 10.0
    CONSTANT_SCALE = 100.0

    def __init__(self, *, action_unit: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action_unit = action_unit
        bounds = self.action_space.low, self.action_space.high
        low, high = (torch.as_tensor(bound.ravel(), dtype=torch.float32) for bound in bounds)
        self.register_buffer("zero_action", (low + high) / (low - high), persistent=False)
        size = self.features_dim + self.action_dim
        self.form = nn.Parameter(torch.zeros(self.n_critics, size, size))
        self.constant = nn.Parameter(torch.zeros(self.n_critics, 1, 1))

    def q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        of_state = features.unsqueeze(1).expand(-1, actions.shape[1], -1)
        z = torch.cat([of_state, (actions - self.zero_action) / self.action_unit], dim=-1)
        form: torch.Tensor = torch.einsum("bni,cij,bnj->cbn", z, self.form, z)
        return self.FORM_SCALE * form + self.CONSTANT_SCALE * self.constant
