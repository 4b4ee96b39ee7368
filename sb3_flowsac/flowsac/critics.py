"""The critics: an ensemble of Q networks evaluated in one pass, for one action or many actions of each state."""

from collections.abc import Sequence

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn


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


class EnsembleCritic(BaseModel):
    """
    ``n_critics`` independent Q networks on [features of s, a], a in scaled units [-1, 1].

    The part of the first layer that reads the state is computed once for all actions of a state. With ``quadratic`` each
    network has beside it a learnt quadratic form of [features, a], zero at the start: the shape of the value of a linear
    quadratic regulator, which a network of rectifiers only approximates.

    :param observation_space: observation space
    :param action_space: action space
    :param net_arch: sizes of the hidden layers
    :param features_extractor: network that extracts the features of the state
    :param features_dim: number of features
    :param activation_fn: activation function, applied elementwise
    :param normalize_images: whether to divide images by 255
    :param n_critics: number of critics
    :param share_features_extractor: whether the extractor is the actor's, which then alone trains it
    :param quadratic: whether to add the quadratic form
    """

    features_extractor: BaseFeaturesExtractor

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        net_arch: Sequence[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        n_critics: int = 2,
        share_features_extractor: bool = True,
        quadratic: bool = False,
    ) -> None:
        super().__init__(
            observation_space, action_space, features_extractor=features_extractor, normalize_images=normalize_images
        )
        self.features_dim, self.action_dim = features_dim, get_action_dim(action_space)
        self.n_critics = n_critics
        self.share_features_extractor = share_features_extractor
        sizes = [features_dim + self.action_dim, *net_arch, 1]
        self.layers = nn.ModuleList(
            EnsembleLinear(n_critics, n_in, n_out) for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.activation = activation_fn()
        self.form = nn.Parameter(torch.zeros(n_critics, sizes[0], sizes[0])) if quadratic else None

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
            return self._q_values(features, actions.unsqueeze(1)).squeeze(-1)
        return self._q_values(features, actions)

    def _q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        batch, n, _ = actions.shape
        first, *rest = self.layers
        of_state = torch.baddbmm(
            first.bias, features.expand(self.n_critics, -1, -1), first.weight[:, : self.features_dim]
        )  # (n_critics, batch, width)
        of_action = actions.flatten(0, 1).expand(self.n_critics, -1, -1) @ first.weight[:, self.features_dim :]
        hidden = (of_action.unflatten(1, (batch, n)) + of_state.unsqueeze(2)).flatten(1, 2)
        for layer in rest:
            hidden = layer(self.activation(hidden))
        q_values = hidden.view(self.n_critics, batch, n)
        if self.form is not None:
            x = torch.cat([features.unsqueeze(1).expand(-1, n, -1), actions], dim=-1)
            q_values = q_values + torch.einsum("bni,cij,bnj->cbn", x, self.form, x)
        return q_values
