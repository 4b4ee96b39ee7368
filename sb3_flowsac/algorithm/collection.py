"""SB3's loading and its collection of transitions, where damaged files and numbers that are not finite are stopped."""

import json
import math
import pickle
import warnings
from typing import Any, TypeVar, cast

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import VectorizedActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv, TrainFreq, TrainFrequencyUnit

from sb3_flowsac.algorithm import arguments
from sb3_flowsac.algorithm.finite import REMEDY, DivergenceError, check_finite, spoilt_parameters
from sb3_flowsac.algorithm.schedules import HoldThenLinearSchedule
from sb3_flowsac.algorithm.tables import slow_down_tables
from sb3_flowsac.checks import naming, number

SelfAlgorithm = TypeVar("SelfAlgorithm", bound="CheckedOffPolicyAlgorithm")
MAX_IDLE, MAX_IDLE_SHARE = 10, 0.05  # gradient steps after the learning rate has fallen to 0
DAMAGE = (AssertionError, EOFError, KeyError, json.JSONDecodeError, pickle.UnpicklingError)


class CheckedOffPolicyAlgorithm(OffPolicyAlgorithm):
    """``OffPolicyAlgorithm`` that refuses damaged files, and what it gets from the environments, or would give them, if
    it is not finite."""

    @classmethod
    def load(
        cls: type[SelfAlgorithm], path: Any, env: GymEnv | None = None, *args: Any, **kwargs: Any
    ) -> SelfAlgorithm:
        """
        Load a model from a zip file, which holds pickles: they can run code, so load only files that you trust.

        :param path: the file, or a file-like object
        :param env: the environment to go on in, with any number of copies; ``None`` if only to predict
        :param args: further arguments of SB3's ``load``: device, custom_objects, print_system_info, force_reset
        :param kwargs: the same by their names, and arguments of the algorithm in place of those in the file
        :return: the model
        :raises ValueError: if the file is damaged or no model; names it
        :raises TypeError: if an argument is unknown
        """
        kwargs = arguments.of_load(cls, kwargs)
        try:
            model = super().load(path, env, *args, **kwargs)
        except DAMAGE as error:
            if isinstance(error, AssertionError) and "found in the saved file" not in str(error):
                raise  # SB3's on the environment
            raise ValueError(f"{path} is damaged or no model of {cls.__name__}: {error}") from error
        noise = model.action_noise
        if isinstance(noise, VectorizedActionNoise) and "action_noise" not in kwargs:
            # SB3 made it of the noise that was given, for the environments of then
            model.action_noise = noise if noise.n_envs == model.n_envs else noise.base_noise
        return model

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        noise = self.action_noise
        if isinstance(noise, VectorizedActionNoise) and noise.n_envs != self.n_envs:
            raise ValueError(f"action_noise is for {noise.n_envs} environments, there are {self.n_envs}")
        setup = super()._setup_learn(*args, **kwargs)
        if isinstance(self.learning_starts, str):  # "auto": with narrow data the first policies keep to what they know
            self.learning_starts = min(max(int(setup[0]) // 10, 100), 1000)
        if not self._custom_logger:
            slow_down_tables(self.logger)
        self._warn_of_runs_without_training(setup[0])
        self._warn_of_a_low_rate(setup[0])
        first = self._last_obs if self._vec_normalize_env is None else self._last_original_obs
        check_finite("observation", first, self.num_timesteps)
        return setup

    def _setup_model(self) -> None:
        with naming(f"buffer_size={self.buffer_size} transitions do not fit into memory", MemoryError, MemoryError):
            super()._setup_model()
        self._warn_of_another_gamma()

    def _warn_of_another_gamma(self) -> None:
        """An environment that says its ``gamma``, such as MaxEntLQR-v0, has its optimum with that one alone."""
        known = self.env.get_attr("gamma") if self.env is not None and self.env.has_attr("gamma") else []
        # What else may have the name: a ratio, a damping, a method
        discounts = [g for g in known if isinstance(g, float | int | np.floating) and 0.0 <= g <= 1.0]
        others = [gamma for gamma in discounts if gamma != self.gamma]
        if others:
            warnings.warn(
                f"gamma={self.gamma:g}, and the environment or a wrapper has gamma={others[0]:g}: if that is the "
                f"discount of its optimum, another problem is learnt; pass gamma={others[0]:g}",
                stacklevel=5,
            )

    def _warn_of_runs_without_training(self, total_timesteps: int) -> None:
        """Say it where no gradient step will come."""
        reason = "gradient_steps is 0" if self.gradient_steps == 0 else ""
        every = cast(TrainFreq, self.train_freq)
        rollout = self.n_envs * every.frequency
        # A run ends with a whole rollout
        end = self.num_timesteps + math.ceil((total_timesteps - self.num_timesteps) / rollout) * rollout
        if every.unit == TrainFrequencyUnit.STEP and end <= self.learning_starts:  # how long episodes are is not known
            reason = f"learning_starts={self.learning_starts} must be below the steps of this run, {end}"
        if reason:
            warnings.warn(f"no gradient step will be taken: {reason}", stacklevel=5)

    def _warn_of_a_low_rate(self, total_timesteps: int) -> None:
        """Say it where the learning rate has fallen, since the steps of earlier calls count as a part of the run."""
        schedule, steps = self.learning_rate, self.num_timesteps
        if steps and isinstance(schedule, HoldThenLinearSchedule):
            first = schedule(1.0 - steps / total_timesteps)
            if first < schedule.value:
                warnings.warn(
                    f"learning_rate starts at {first:.2g} and falls to 0: with reset_num_timesteps=False the run is of "
                    f"{total_timesteps} steps, {steps} of them before; for a constant rate pass "
                    f"learning_rate={schedule.value:g}",
                    stacklevel=5,
                )

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        # The last rollout may exceed the run; a schedule that falls to 0 at its end would be negative there
        self._current_progress_remaining = max(0.0, self._current_progress_remaining)

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        left = self._current_progress_remaining
        number(f"learning_rate({left:.3g})", self.lr_schedule(left), 0.0)
        super()._update_learning_rate(optimizers)

    def _warn_of_steps_without_effect(self, gradient_steps: int) -> None:
        """Say it where a large part of the gradient steps comes after the learning rate has fallen to 0."""
        rate, total = self.lr_schedule, self._n_updates + gradient_steps
        is_idle = rate(self._current_progress_remaining) == 0.0 < rate(1.0)
        if is_idle and gradient_steps > max(MAX_IDLE, MAX_IDLE_SHARE * total):
            warnings.warn(
                f"learning_rate has fallen to 0 before the last {gradient_steps} of {total} gradient steps, which "
                "change nothing: choose a smaller train_freq, or a constant learning_rate",
                stacklevel=2,
            )

    def _sample_action(self, *args: Any, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """As SB3's; raises a ``DivergenceError`` if an action is not finite, before the environment gets it."""
        actions, buffer_actions = super()._sample_action(*args, **kwargs)
        try:
            check_finite("action", buffer_actions, self.num_timesteps)
        except DivergenceError as error:
            raise DivergenceError(f"{error}; {spoilt_parameters(self.policy)}{REMEDY}") from None
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
        """As SB3's; raises a ``DivergenceError`` if a reward or an observation is not finite."""
        normalizer, stored = self._vec_normalize_env, {"reward": reward, "observation": new_obs}
        if normalizer is not None:  # the buffer keeps what the environment gave
            stored = {"reward": normalizer.get_original_reward(), "observation": normalizer.get_original_obs()}
        last = {f"infos[{i}]['terminal_observation']": info.get("terminal_observation") for i, info in enumerate(infos)}
        for name, values in {**stored, **last}.items():
            if values is not None:
                check_finite(name, values, self.num_timesteps)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
