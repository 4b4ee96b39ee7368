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
from sb3_flowsac.algorithm.checks import check_activation, layer_sizes
from sb3_flowsac.checks import boolean
from sb3_flowsac.flow import (
    ActionTransform,
    BaseName,
    Density,
    FlowDistribution,
    Identity,
    Solver,
    Tanh,
    VelocityField,
    make_flow,
)


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
    Actor network: from observations to a conditional flow over latents, and a transform to scaled actions [-1, 1].

    :param observation_space: observation space
    :param action_space: action space
    :param net_arch: sizes of the hidden layers of the trunk, whose output is bounded, see ``BoundedSize``
    :param features_extractor: network that extracts the features of the observation
    :param features_dim: number of features
    :param activation_fn: activation function of the trunk
    :param normalize_images: whether to divide images by 255
    :param squash_output: whether actions are squashed by tanh
    :param base: see ``make_flow``, as all that follow
    :param log_std_init: in latents
    :param field: structured, mlp or a class
    :param field_kwargs: keyword arguments of the field
    :param ode_steps: number of steps from noise to action
    :param ode_solver: name or ``Solver``
    :param ode_grid_power: uniform steps or finer ones towards the action
    :param density: exact or trace; ``action_log_prob`` takes "trace" in either case
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
        base: BaseName = "gaussian",
        log_std_init: float = 0.0,
        field: str | type[VelocityField] = "structured",
        field_kwargs: dict[str, Any] | None = None,
        ode_steps: int = 5,
        ode_solver: str | Solver = "midpoint",
        ode_grid_power: float = 1.0,
        density: Density = "exact",
    ) -> None:
        net_arch = layer_sizes("net_arch", net_arch)
        check_activation(activation_fn)
        boolean("squash_output", squash_output)
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
        latent_dim, action_dim = (net_arch[-1] if net_arch else features_dim), get_action_dim(action_space)
        self.flow = make_flow(
            latent_dim,
            action_dim,
            base=base,
            log_std_init=log_std_init,
            field=field,
            field_kwargs=field_kwargs,
            ode_steps=ode_steps,
            ode_solver=ode_solver,
            ode_grid_power=ode_grid_power,
            density=density,
        )
        self.flow_kwargs = {"squash_output": squash_output, **self.flow.options}

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        data.update(
            self.flow_kwargs,
            net_arch=self.net_arch,
            features_extractor=self.features_extractor,
            features_dim=self.features_dim,
            activation_fn=self.activation_fn,
        )
        return data

    def distribution(self, obs: PyTorchObs) -> FlowDistribution:
        """The flow over latents in each of a batch of observations."""
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
        n scaled actions in each state, in antithetic pairs, and the logarithm of their density with respect to scaled
        actions.

        What the critics' targets and alpha are made of, without gradients.
        The density is that of equation 6, the trace integral, whatever ``density`` says: it is cheap, and averages have
        little of its errors. ``train/log_prob_bias`` says how large they are.

        :param obs: observations
        :param n: number of actions
        :return: (batch, n, action_dim) and (batch, n)
        """
        if n == 1:
            latents, log_prob = self.flow.sample_singles(self.features(obs))
        else:
            latents, log_prob = self.distribution(obs).sample_with_log_prob(n, density="trace", antithetic=True)
        return self.transform(latents), log_prob - self.transform.log_det(latents)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        actions: torch.Tensor = self(observation, deterministic)
        return actions
