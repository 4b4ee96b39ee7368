"""The actor of FlowSAC: from observations to a conditional flow over actions."""

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_flowsac.algorithm.activations import Swish2
from sb3_flowsac.flow import ActionTransform, FlowDistribution, Identity, Tanh, make_flow


class BoundedSize(nn.Module):
    """
    Features whose root mean square is above 1 are divided by it; smaller ones, the usual ones, pass unchanged.

    Velocities are products of maps of the features. Without a bound, observations in the thousands (contact forces,
    say) make flows that no solver follows, and each gradient step moves them by as much again.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """
        Bound the features.

        :param features: (batch, features_dim)
        :return: the same shape
        """
        size: torch.Tensor = torch.linalg.vector_norm(features, dim=-1, keepdim=True) * features.shape[-1] ** -0.5
        return features / size.clamp(min=1.0)


class FlowActor(BasePolicy):
    """
    Actor network: from observations to a conditional flow over u, and a transform of u to scaled actions in [-1, 1].

    :param observation_space: observation space
    :param action_space: action space
    :param net_arch: sizes of the hidden layers of the trunk, whose output is bounded, see ``BoundedSize``
    :param features_extractor: network that extracts the features of the observation
    :param features_dim: number of features
    :param activation_fn: activation function of the trunk
    :param normalize_images: whether to divide images by 255
    :param squash_output: whether actions are squashed by tanh
    :param flow_kwargs: base distribution, velocity field and solver, see ``sb3_flowsac.flow.make_flow``
    :raises ValueError: if an argument is out of range
    :raises TypeError: if an argument is of the wrong kind
    """

    features_extractor: BaseFeaturesExtractor
    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = Swish2,
        normalize_images: bool = True,
        squash_output: bool = True,
        **flow_kwargs: Any,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
            squash_output=squash_output,
        )
        self.features_dim = features_dim
        self.net_arch, self.activation_fn = net_arch, activation_fn
        self.transform: ActionTransform = Tanh() if squash_output else Identity()
        bound = [BoundedSize()] if net_arch else []  # raw features keep their size: a linear policy is to be linear
        self.trunk = nn.Sequential(*create_mlp(features_dim, -1, net_arch, activation_fn), *bound)
        trunk_dim = net_arch[-1] if net_arch else features_dim
        self.flow = make_flow(trunk_dim, get_action_dim(action_space), **flow_kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data.update(
            self.flow.options,
            net_arch=self.net_arch,
            features_extractor=self.features_extractor,
            features_dim=self.features_dim,
            activation_fn=self.activation_fn,
            squash_output=self.squash_output,
        )
        return data

    def distribution(self, obs: PyTorchObs) -> FlowDistribution:
        """The flow over u in each of a batch of observations."""
        distribution: FlowDistribution = self.flow(self.features(obs))
        return distribution

    def features(self, obs: PyTorchObs) -> torch.Tensor:
        """What base and field are functions of, (batch, net_arch[-1])."""
        features: torch.Tensor = self.trunk(self.extract_features(obs, self.features_extractor))
        return features

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        """
        Scaled actions, (batch, action_dim); unsquashed ones may lie outside [-1, 1].

        :param obs: observations
        :param deterministic: take the action that the flow gives the centre of its base distribution
        """
        distribution = self.distribution(obs)
        noise = torch.zeros_like(distribution.base.loc).unsqueeze(1) if deterministic else distribution.noise(1)
        return self.transform(distribution.push(noise)).squeeze(1)

    @torch.no_grad()
    def action_log_prob(self, obs: PyTorchObs, n: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """
        n scaled actions in each state, in antithetic pairs, and the log-density of scaled actions there.

        The critics' targets and alpha are made of them, without gradients. The density is the trace integral of
        equation 6, whatever ``density`` says: it is cheap, and its errors nearly cancel in averages.
        ``train/log_prob_bias`` says how large they are.

        :param obs: observations
        :param n: number of actions
        :return: (batch, n, action_dim) and (batch, n)
        """
        u, log_prob = self.distribution(obs).sample_with_log_prob(n, density="trace", antithetic=True)
        return self.transform(u), log_prob - self.transform.log_det(u)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        actions: torch.Tensor = self(observation, deterministic)
        return actions
