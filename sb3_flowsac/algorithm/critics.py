"""The critics: an ensemble of Q functions evaluated in one pass, for one action or many actions of each state."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_flowsac.algorithm.activations import Swish2

# Rows of a layer's output that are evaluated at a time without gradients: fewer need more calls, more need arrays so
# large that the system gives them out anew each time
CACHED_ROWS = 1024


class EnsembleLinear(nn.Module):
    """
    One linear layer for each member of an ensemble, as a batched matrix product.

    Each member starts as ``torch.nn.Linear`` would.

    :param n_members: size of the ensemble
    :param in_features: size of the input
    :param out_features: size of the output
    """

    def __init__(self, n_members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(n_members, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_members, 1, out_features).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n_members or 1, rows, in_features) to (n_members, rows, out_features)."""
        return torch.baddbmm(self.bias, x.expand(self.weight.shape[0], -1, -1), self.weight)


class Critic(BaseModel, ABC):
    """
    ``n_critics`` independent Q functions of the state's features and of the action in scaled units [-1, 1].

    :param observation_space: observation space
    :param action_space: action space
    :param features_extractor: network that extracts the features of the state
    :param features_dim: number of features
    :param normalize_images: whether to divide images by 255
    :param n_critics: number of critics
    :param share_features_extractor: whether the extractor is the actor's, which then alone trains it
    """

    features_extractor: BaseFeaturesExtractor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        normalize_images: bool = True,
        n_critics: int = 2,
        share_features_extractor: bool = False,
    ) -> None:
        super().__init__(
            observation_space, action_space, features_extractor=features_extractor, normalize_images=normalize_images
        )
        self.features_dim, self.action_dim = features_dim, get_action_dim(action_space)
        self.n_critics = n_critics
        self.share_features_extractor = share_features_extractor

    def forward(self, obs: PyTorchObs, actions: torch.Tensor) -> torch.Tensor:
        """
        Q values of every critic.

        :param obs: observations of ``batch`` states
        :param actions: scaled actions (batch, action_dim) or (batch, n, action_dim)
        :return: (n_critics, batch) or (n_critics, batch, n)
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.share_features_extractor):
            features = self.extract_features(obs, self.features_extractor)
        if actions.dim() == 2:
            return self.q_values(features, actions.unsqueeze(1)).squeeze(-1)
        return self.q_values(features, actions)

    @abstractmethod
    def q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """
        Q values of every critic for several actions of each state.

        :param features: (batch, features_dim)
        :param actions: scaled actions (batch, n, action_dim)
        :return: (n_critics, batch, n)
        """


class NetworkCritic(Critic):
    """
    Multi-layer perceptrons on [features, a].

    The part of the first layer that reads the state is computed once for several actions of a state.

    :param net_arch: sizes of the hidden layers
    :param activation_fn: activation function, applied elementwise
    :param kwargs: arguments of ``Critic``
    """

    def __init__(self, *, net_arch: Sequence[int], activation_fn: type[nn.Module] = Swish2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sizes = [self.features_dim + self.action_dim, *net_arch, 1]
        self.layers = nn.ModuleList(EnsembleLinear(self.n_critics, n_in, n_out) for n_in, n_out in pairwise(sizes))
        self.activation = activation_fn()

    def q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        first = cast(EnsembleLinear, self.layers[0])
        if actions.shape[1] == 1:
            return self._deeper(first(torch.cat([features, actions.squeeze(1)], dim=-1)))
        of_features, of_actions = torch.split(first.weight, [self.features_dim, self.action_dim], dim=1)
        state_part = torch.baddbmm(first.bias, features.expand(self.n_critics, -1, -1), of_features)
        if torch.is_grad_enabled() or actions.is_cuda:
            return self._of_actions(state_part, actions, of_actions)
        states = max(1, CACHED_ROWS // actions.shape[1])
        blocks = zip(torch.split(state_part, states, dim=1), torch.split(actions, states), strict=True)
        return torch.cat([self._of_actions(*block, of_actions) for block in blocks], dim=1)

    def _of_actions(self, state_part: torch.Tensor, actions: torch.Tensor, of_actions: torch.Tensor) -> torch.Tensor:
        batch, n, _ = actions.shape
        hidden = actions.flatten(0, 1).expand(self.n_critics, -1, -1) @ of_actions
        hidden = hidden.view(self.n_critics, batch, n, -1).add_(state_part.unsqueeze(2)).flatten(1, 2)
        return self._deeper(hidden).view(self.n_critics, batch, n)

    def _deeper(self, hidden: torch.Tensor) -> torch.Tensor:
        """From the first layer to the values, (n_critics, rows, units) to (n_critics, rows, 1)."""
        for layer in self.layers[1:]:
            hidden = layer(self.activation(hidden))
        return hidden


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
