"""Trained models as the evaluation sees them."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.policies import BasePolicy

from maxent_envs.lqr.spaces import observation
from maxent_envs.validation import FloatArray
from sb3_flowsac.flow import Tanh
from sb3_flowsac.flowsac import FlowSAC


class LearntPolicy:
    """
    The policy of a FlowSAC or SAC model as a ``StochasticPolicy``.

    States become the observations that the model was trained on: float32, and normalised if its environment is wrapped
    in a ``VecNormalize`` (whose statistics stay as they are). Sampling happens without gradients in evaluation mode and
    leaves the policy's mode as it was.

    :param model: the model
    :raises ValueError: if its action space is no Box
    """

    def __init__(self, model: FlowSAC | SAC) -> None:
        if not isinstance(model.action_space, spaces.Box):
            raise ValueError(f"model.action_space must be a Box, got {model.action_space}")
        self.action_space = model.action_space
        self.device = model.device
        self._model = model
        self._normalizer = model.get_vec_normalize_env()

    def sample(self, states: FloatArray, n: int, generator: torch.Generator) -> tuple[FloatArray, FloatArray]:
        """
        Draw actions, before any clipping, with their log-density.

        :param states: states of the LQR, (batch, n_states)
        :param n: number of actions in each state
        :param generator: source of the noise
        :return: actions in the environment's units, (batch, n, n_inputs), and log-densities, (batch, n)
        :raises OverflowError: if a state is outside float32's range
        """
        obs = observation(states)
        normalized = np.asarray(obs if self._normalizer is None else self._normalizer.normalize_obs(obs))
        with torch.no_grad(), _evaluation_mode(self._model.policy):
            if isinstance(self._model, FlowSAC):
                actions, log_prob = self._model.policy.sample(normalized, n, generator)
            else:
                actions, log_prob = _sample_gaussian(self._model, normalized, n, generator)
        return actions.cpu().numpy().astype(np.float64), log_prob.cpu().numpy().astype(np.float64)


def temperature(model: FlowSAC | SAC) -> float:
    """
    The entropy coefficient that a model has now, fixed or learnt.

    :param model: the model
    """
    if isinstance(model, FlowSAC):
        return model.current_ent_coef().item()
    return model.ent_coef_tensor.item() if model.log_ent_coef is None else model.log_ent_coef.exp().item()


@contextmanager
def _evaluation_mode(policy: BasePolicy) -> Iterator[None]:
    was_training = policy.training
    policy.set_training_mode(False)
    try:
        yield
    finally:
        policy.set_training_mode(was_training)


def _sample_gaussian(
    model: SAC, observations: np.ndarray, n: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Actions of SAC's squashed diagonal Gaussian and their log-density, in the environment's units."""
    mean, log_std, _ = model.actor.get_action_dist_params(model.policy.obs_to_tensor(observations)[0])
    normal = torch.randn(len(mean), n, mean.shape[1], generator=generator, device=mean.device)
    latents = mean.unsqueeze(1) + log_std.exp().unsqueeze(1) * normal
    transform, box = Tanh(), model.action_space
    assert isinstance(box, spaces.Box)
    low, high = (torch.as_tensor(bound, device=mean.device) for bound in (box.low, box.high))
    scale = 0.5 * (high - low)
    log_prob = torch.distributions.Normal(mean.unsqueeze(1), log_std.exp().unsqueeze(1)).log_prob(latents).sum(-1)
    return low + (transform(latents) + 1.0) * scale, log_prob - transform.log_det(latents) - scale.log().sum()
