"""The actor of FlowSAC: from observations to a conditional flow over actions."""

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_flowsac.algorithm.running_norm import RunningNorm
from sb3_flowsac.flow import ActionTransform, FlowDistribution, Identity, Tanh, make_flow
from sb3_flowsac.isfm import isfm_loss


class FlowActor(BasePolicy):
    """
    Actor network: from observations to a conditional flow over u, and a transform of u to scaled actions in [-1, 1].

    :param observation_space: observation space
    :param action_space: action space
    :param net_arch: sizes of the hidden layers of the trunk, which has normalised input (``RunningNorm``) and output
        (root mean square 1); without hidden layers the features go through as they are
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
        activation_fn: type[nn.Module] = nn.ReLU,
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
        self.norm: RunningNorm | None = None
        self.trunk: nn.Module = nn.Identity()
        if net_arch:
            self.norm = RunningNorm(features_dim)
            hidden = create_mlp(features_dim, -1, net_arch, activation_fn)
            # Velocities are products of maps of the features: without a bound there are flows that no solver follows
            self.trunk = nn.Sequential(*hidden, nn.RMSNorm(net_arch[-1], elementwise_affine=False))
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

    def distribution(self, obs: PyTorchObs, update_norm: bool = False) -> FlowDistribution:
        """
        The flow over u in each of a batch of observations.

        :param obs: observations
        :param update_norm: see ``features``
        """
        distribution: FlowDistribution = self.flow(self.features(obs, update_norm))
        return distribution

    def features(self, obs: PyTorchObs, update_norm: bool = False) -> torch.Tensor:
        """
        What base and field are functions of, (batch, net_arch[-1]).

        :param obs: observations
        :param update_norm: whether the running statistics of the trunk's input follow this batch, with gradients alone
        """
        extracted = self.extract_features(obs, self.features_extractor)
        if self.norm is not None:
            if update_norm and torch.is_grad_enabled():
                self.norm.update(extracted)
            extracted = self.norm(extracted)
        features: torch.Tensor = self.trunk(extracted)
        return features

    def reparameterised(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        A scaled action of each state and its log-density, differentiable in the base distribution alone.

        u = loc + L y_1 with y_1 from the flow without gradient, so log pi = log p(y_1) - log det L - log det of the
        transform: no solver has to be differentiated.

        :param features: features of the states, (batch, net_arch[-1])
        :return: (batch, 1, action_dim), (batch, 1), and y_1 (batch, 1, action_dim)
        """
        base = self.flow.base(features)
        with torch.no_grad():
            y1, log_prob = FlowDistribution(self.flow, base, self.flow.field(features)).sample_whitened()
        u = base.unwhiten(y1)
        return self.transform(u), log_prob - base.log_scale - self.transform.log_det(u), y1

    def imitation_loss(self, obs: PyTorchObs, actions: torch.Tensor) -> torch.Tensor:
        """
        The loss of supervised learning, for example from demonstrations: flow matching to given actions (equation 5),
        and for the base distribution minus their log-likelihood. The running statistics of the trunk follow.

        :param obs: observations
        :param actions: scaled actions as a replay buffer holds them, (batch, action_dim)
        :return: the mean over the batch, ()
        """
        latents = self.transform.inverse(actions).unsqueeze(1)
        losses = isfm_loss(self.distribution(obs, update_norm=True), latents, torch.ones_like(latents[..., 0]))
        return losses.flow + losses.base

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
        ``train/log_prob_bias`` says how large they are. Latents that tanh rounds to the outermost action have its
        slope: that of the real tanh fades without end, as no action shows.

        :param obs: observations
        :param n: number of actions
        :return: (batch, n, action_dim) and (batch, n)
        """
        u, log_prob = self.distribution(obs).sample_with_log_prob(n, density="trace", antithetic=True)
        return self.transform(u), log_prob - self.transform.bounded_log_det(u)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> torch.Tensor:
        actions: torch.Tensor = self(observation, deterministic)
        return actions
