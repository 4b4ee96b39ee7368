"""Policies as the evaluation sees them: of a trained model, and the closed-form optimum."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from maxent_envs import LinearGaussian
from maxent_envs.lqr.env import observation
from maxent_envs.validation import FloatArray
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.algorithm.action_box import ActionBox
from sb3_flowsac.flow import Tanh
from sb3_flowsac.flow.base import standard_normal_log_prob


class StochasticPolicy(Protocol):
    """
    A policy as the evaluation sees it: a function of the LQR's state.

    ``action_space`` is the Box to which actions are clipped when they are applied, ``device`` that of the generator
    which ``sample`` takes. Draw the noise of an action as ``torch.randn(batch, n, m, generator=generator)`` in float32:
    then it is common to the policy and to the optimum that it is compared with.
    """

    @property
    def action_space(self) -> spaces.Box:
        """The Box of the actions, shape (m,)."""

    @property
    def device(self) -> torch.device:
        """Where the policy draws its noise."""

    def sample(self, states: FloatArray, n: int, generator: torch.Generator) -> tuple[FloatArray, FloatArray]:
        """
        Draw actions, before any clipping, with their log-density.

        :param states: states of the LQR, (batch, n_states)
        :param n: number of actions in each state
        :param generator: source of the noise
        :return: actions in the environment's units, (batch, n, n_inputs), and log-densities, (batch, n)
        """


class LinearPolicy:
    """
    A linear Gaussian policy, such as the optimum, as a ``StochasticPolicy``: -K x + L z in no Box, with Sigma = L L'.

    :param policy: the policy; ``problem.solve(alpha)`` for the optimum
    :param deterministic: whether to take the mean -K x in place of a sample
    :param device: where the noise is drawn
    """

    def __init__(self, policy: LinearGaussian, deterministic: bool = False, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.action_space = spaces.Box(-np.inf, np.inf, shape=(policy.problem.n_inputs,))
        self._policy = policy
        self._factor = np.zeros_like(policy.Sigma) if deterministic else np.linalg.cholesky(policy.Sigma)

    def sample(self, states: FloatArray, n: int, generator: torch.Generator) -> tuple[FloatArray, FloatArray]:
        """
        See ``StochasticPolicy``. A deterministic policy draws its noise too, so that generators stay in step, and its
        log-densities are infinite.
        """
        shape = (len(states), n, len(self._factor))
        noise = torch.randn(shape, generator=generator, device=self.device, dtype=torch.float32).cpu().numpy()
        normal = noise.astype(np.float64)
        with np.errstate(divide="ignore"):
            log_scale = np.log(np.diag(self._factor)).sum() + 0.5 * len(self._factor) * np.log(2.0 * np.pi)
        actions: FloatArray = self._policy.mean(states)[:, None] + normal @ self._factor.T
        return actions, -0.5 * np.square(normal).sum(-1) - log_scale


class LearntPolicy:
    """
    The policy of a FlowSAC or SAC model as a ``StochasticPolicy``.

    States become the observations that the model was trained on: float32, and normalised if its environment is wrapped
    in a ``VecNormalize`` (whose statistics stay as they are). Sampling happens without gradients in evaluation mode and
    leaves the policy's mode as it was.

    :param model: the model
    """

    def __init__(self, model: FlowSAC | SAC) -> None:
        self.action_space = cast(spaces.Box, model.action_space)  # the only kind that these algorithms take
        self._model, self.device = model, model.device

    def sample(self, states: FloatArray, n: int, generator: torch.Generator) -> tuple[FloatArray, FloatArray]:
        """
        See ``StochasticPolicy``.

        :raises OverflowError: if a state is outside float32's range
        """
        observations = normalized(self._model, observation(states))
        with torch.no_grad(), evaluation_mode(self._model.policy):
            if isinstance(self._model, FlowSAC):
                actions, log_prob = self._model.policy.sample(observations, n, generator)
            else:
                actions, log_prob = self._sample_gaussian(self._model, observations, n, generator)
        return actions.cpu().numpy().astype(np.float64), log_prob.cpu().numpy().astype(np.float64)

    def _sample_gaussian(
        self, model: SAC, observations: np.ndarray, n: int, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions of SAC's squashed diagonal Gaussian and their log-density, in the environment's units."""
        mean, log_std, _ = model.actor.get_action_dist_params(model.policy.obs_to_tensor(observations)[0])
        normal = torch.randn(len(mean), n, mean.shape[1], generator=generator, device=mean.device)
        latents = mean.unsqueeze(1) + log_std.exp().unsqueeze(1) * normal
        transform, box = Tanh(), ActionBox(self.action_space).to(mean.device)
        log_prob = standard_normal_log_prob(normal) - log_std.sum(-1, keepdim=True)
        return box.unscale(transform(latents)), log_prob - transform.log_det(latents) - box.log_volume


def temperature(model: FlowSAC | SAC) -> float:
    """
    The entropy coefficient that a model has now, fixed or learnt.

    :param model: the model
    """
    if isinstance(model, FlowSAC):
        return model.current_ent_coef()
    return model.ent_coef_tensor.item() if model.log_ent_coef is None else model.log_ent_coef.exp().item()


@contextmanager
def evaluation_mode(policy: BasePolicy) -> Iterator[None]:
    """
    Put a policy in evaluation mode, and afterwards back in the mode it had.

    :param policy: the policy
    """
    was_training = policy.training
    policy.set_training_mode(False)
    try:
        yield
    finally:
        policy.set_training_mode(was_training)


def normalized(model: BaseAlgorithm, obs: Any) -> Any:
    """Observations of the environment as the model was given them in training."""
    normalizer = model.get_vec_normalize_env()
    return obs if normalizer is None else normalizer.normalize_obs(obs)
