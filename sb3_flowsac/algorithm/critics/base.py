"""What FlowSAC asks of a critic."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class SoftTransitions(NamedTuple):
    """
    Transitions of a replay buffer, with actions that the policy would take next: what the soft Bellman equation (1)
    needs.

    ``actions`` (batch, action_dim) and ``next_actions`` (batch, n, action_dim) are scaled actions, within [-1, 1].
    ``rewards`` and ``discounts`` are (batch, 1). The discount is gamma, or a power of it for returns of several steps,
    and 0 where the episode ended. ``next_bonuses`` (batch, n) is -alpha log pi of the next actions.
    """

    observations: PyTorchObs
    actions: torch.Tensor
    rewards: torch.Tensor
    discounts: torch.Tensor
    next_observations: PyTorchObs
    next_actions: torch.Tensor
    next_bonuses: torch.Tensor


class CriticLoss(NamedTuple):
    """A scalar to minimise, and the mean Q value of the batch without gradient."""

    loss: torch.Tensor
    q_value: torch.Tensor


class Critic(BaseModel, ABC):
    """
    ``n_critics`` Q functions of the state's features and of the action in scaled units [-1, 1].

    A kind of critic defines ``q_values``. It may also redefine ``reduce``, what the critics' values are worth together
    to the actor and to the target of the Bellman equation, ``loss``, how it learns, and ``minimize``, how it takes a
    step.

    :param observation_space: observation space
    :param action_space: action space
    :param features_extractor: network that extracts the features of the state
    :param features_dim: number of features
    :param net_arch: sizes of the hidden layers, for kinds that have any
    :param activation_fn: activation function of the hidden layers
    :param normalize_images: whether to divide images by 255
    :param n_critics: number of critics
    :param share_features_extractor: whether the extractor is the actor's, which then alone trains it
    """

    features_extractor: BaseFeaturesExtractor
    optimizer: torch.optim.Optimizer
    uses_target: bool = True  # whether ``loss`` reads the values of next states from a slowly moving copy

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        net_arch: Sequence[int] = (256, 256),
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        n_critics: int = 2,
        share_features_extractor: bool = False,
    ) -> None:
        super().__init__(
            observation_space, action_space, features_extractor=features_extractor, normalize_images=normalize_images
        )
        self.features_dim, self.action_dim = features_dim, get_action_dim(action_space)
        self.net_arch, self.activation_fn = list(net_arch), activation_fn
        self.n_critics, self.share_features_extractor = n_critics, share_features_extractor

    @abstractmethod
    def q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """
        Q values of every critic for several actions of each state.

        :param features: (batch, features_dim)
        :param actions: scaled actions (batch, n, action_dim)
        :return: (n_critics, batch, n)
        """

    def value(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """
        What state-actions are worth to the actor and to the target.

        :param features: (batch, features_dim)
        :param actions: scaled actions (batch, n, action_dim)
        :return: (batch, n)
        """
        return self.reduce(self.q_values(features, actions))

    def reduce(self, q_values: torch.Tensor) -> torch.Tensor:
        """
        What the critics' values are worth together: the smallest.

        :param q_values: (n_critics, batch, n)
        :return: (batch, n)
        """
        return q_values.amin(0)

    def loss(self, target: "Critic", transitions: SoftTransitions) -> CriticLoss:
        """
        Squared error of the soft Bellman equation (1), half the mean over the batch, summed over the critics.

        :param target: critic of the next states' values, this one if ``uses_target`` is false
        :param transitions: a batch of transitions
        """
        with torch.no_grad():
            next_values = target.value(target.features(transitions.next_observations), transitions.next_actions)
        return self._squared_error(self(transitions.observations, transitions.actions), next_values, transitions)

    def _squared_error(
        self, q_values: torch.Tensor, next_values: torch.Tensor, transitions: SoftTransitions
    ) -> CriticLoss:
        """Of values (n_critics, batch), with the values of the next actions (batch, n) without gradient."""
        soft_values = (next_values + transitions.next_bonuses).mean(-1, keepdim=True)
        targets = transitions.rewards + transitions.discounts * soft_values
        loss = 0.5 * F.mse_loss(q_values, targets.T.expand_as(q_values)) * self.n_critics
        return CriticLoss(loss, q_values.detach().mean())

    def minimize(self, loss: torch.Tensor) -> None:
        """
        One step of the optimizer.

        :param loss: what ``loss`` has given
        """
        if not loss.requires_grad:  # frozen
            return
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def follow(self, critic: "Critic", tau: float) -> None:
        """
        Move a target: Polyak averages of parameters; buffers, such as running statistics, are copied.

        :param critic: the critic to follow
        :param tau: the soft update coefficient
        """
        move = get_ema_multi_avg_fn(1.0 - tau)  # type: ignore[no-untyped-call]
        move(list(self.parameters()), list(critic.parameters()), None)
        for buffer, followed in zip(self.buffers(), critic.buffers(), strict=True):
            buffer.copy_(followed)

    def features(self, obs: PyTorchObs) -> torch.Tensor:
        """
        Features of states, (batch, features_dim), without gradients if the extractor is the actor's.

        :param obs: observations of ``batch`` states
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.share_features_extractor):
            return self.extract_features(obs, self.features_extractor)

    def forward(self, obs: PyTorchObs, actions: torch.Tensor) -> torch.Tensor:
        """
        Q values of every critic for one action of each state.

        :param obs: observations of ``batch`` states
        :param actions: scaled actions (batch, action_dim)
        :return: (n_critics, batch)
        """
        return self.q_values(self.features(obs), actions.unsqueeze(1)).squeeze(-1)
