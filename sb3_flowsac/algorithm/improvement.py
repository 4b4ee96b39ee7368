"""Policy improvement: the pathwise loss, and the improvement step that ISFM is given."""

import torch
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_flowsac.algorithm.actor import FlowActor
from sb3_flowsac.algorithm.critics import Critic
from sb3_flowsac.flow import FlowDistribution
from sb3_flowsac.isfm import Improvement


def pathwise_loss(
    actor: FlowActor, critic: Critic, features: torch.Tensor, observations: PyTorchObs, ent_coef: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    SAC's loss in nats, E[log pi - Q / alpha], differentiable in the base distribution, see
    ``FlowActor.reparameterised``.

    :param actor: the policy
    :param critic: critics
    :param features: the actor's features of the states, with gradients
    :param observations: the states
    :param ent_coef: alpha
    :return: the loss, and the whitened draws y_1 (batch, 1, action_dim)
    """
    action, log_prob, y1 = actor.reparameterised(features)
    # The environment would clip an unsquashed action to its Box
    value = critic.value(critic.features(observations), action.clamp(-1.0, 1.0))
    return (log_prob - value / ent_coef).mean(), y1


def improvement_in(
    policy: FlowDistribution,
    actor: FlowActor,
    critic: Critic,
    observations: PyTorchObs,
    ent_coef: torch.Tensor,
) -> Improvement:
    """
    The improvement step towards exp(Q / alpha) / Z in a batch of states.

    :param policy: the actor's distribution in these states
    :param actor: supplies the transform to scaled actions
    :param critic: critics
    :param observations: the states
    :param ent_coef: alpha
    """
    features = critic.features(observations)

    def log_action_target(points: torch.Tensor) -> torch.Tensor:
        values = critic.value(features, points)
        # Only differences within a state count: without the largest, no Q / alpha overflows or swamps the densities
        return (values - values.detach().amax(-1, keepdim=True)) / ent_coef

    return Improvement(policy, actor.transform, log_action_target)


def even_rows(batch_size: int, n: int | None, device: torch.device) -> torch.Tensor | slice:
    """
    Index of n rows of a batch at even distances, of all for ``None``. The first n would not do for a batch in order:
    HER's buffer, for one, puts the goals of hindsight last.
    """
    if n is None or n >= batch_size:
        return slice(None)
    return torch.arange(n, device=device) * batch_size // n


def rows_of(observations: PyTorchObs, index: torch.Tensor | slice) -> PyTorchObs:
    """Some of a batch of observations."""
    if isinstance(observations, dict):
        return {key: value[index] for key, value in observations.items()}
    return observations[index]
