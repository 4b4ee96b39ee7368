"""SB3's collection of transitions, where numbers that are not finite are stopped on their way in and out."""

from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise, VectorizedActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from sb3_flowsac.algorithm.finite import REMEDY, check_finite, check_transition, spoilt_parameters


class CheckedOffPolicyAlgorithm(OffPolicyAlgorithm):
    """``OffPolicyAlgorithm`` that refuses what it gets from the environments, or would give them, if it is not
    finite."""

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        noise = self.action_noise
        if isinstance(noise, VectorizedActionNoise) and noise.n_envs != self.n_envs:
            raise ValueError(f"action_noise is for {noise.n_envs} environments, there are {self.n_envs}")
        setup = super()._setup_learn(*args, **kwargs)
        first = self._last_obs if self._vec_normalize_env is None else self._last_original_obs
        check_finite("observation", first, self.num_timesteps)
        return setup

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Actions for the environments and for the buffer, as SB3 draws them.

        :raises FloatingPointError: if one is not finite, before the environment gets it
        """
        actions, buffer_actions = super()._sample_action(learning_starts, action_noise, n_envs)
        try:
            check_finite("action", buffer_actions, self.num_timesteps)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error}; {spoilt_parameters(self.policy)}{REMEDY}") from None
        return actions, buffer_actions

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """
        Store a transition of each environment, as SB3 does.

        :raises FloatingPointError: if a reward or an observation is not finite
        """
        normalizer = self._vec_normalize_env
        if normalizer is None:
            check_transition(reward, new_obs, infos, self.num_timesteps)
        else:  # the buffer keeps what the environment gave
            check_transition(normalizer.get_original_reward(), normalizer.get_original_obs(), infos, self.num_timesteps)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
