"""A model's deterministic controller, as the evaluation sees policies."""

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from maxent_envs.lqr.env import observation
from maxent_envs.validation import FloatArray
from sb3_flowsac.evaluation.policies import normalized


class DeterministicPolicy:
    """
    What ``model.predict(..., deterministic=True)`` does, as a ``StochasticPolicy`` without randomness.

    :param model: a model of Stable-Baselines3; observations are normalised as in its training
    :raises ValueError: if its action space is no Box
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        if not isinstance(model.action_space, spaces.Box):
            raise ValueError(f"model.action_space must be a Box, got {model.action_space}")
        self._model, self.action_space, self.device = model, model.action_space, model.device

    def sample(self, states: FloatArray, n: int, generator: torch.Generator) -> tuple[FloatArray, FloatArray]:
        """
        See ``StochasticPolicy``: n times the same action, clipped to the Box, of infinite log-density.

        :raises OverflowError: if a state is outside float32's range
        """
        actions, _ = self._model.predict(normalized(self._model, observation(states)), deterministic=True)
        return np.repeat(actions[:, None].astype(np.float64), n, axis=1), np.full((len(states), n), np.inf)
