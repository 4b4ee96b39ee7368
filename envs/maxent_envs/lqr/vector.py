"""Many copies of MaxEntLQR-v0 stepped together by array arithmetic."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from maxent_envs.lqr.noise import NoiseStreams
from maxent_envs.lqr.problem import LQRProblem
from maxent_envs.lqr.sources import problem_from_arguments
from maxent_envs.lqr.spaces import action_space, observation, observation_space
from maxent_envs.validation import FloatArray, integer, positive_float, shaped
from maxent_envs.vector_state import initial_state_option

Observations = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
MAX_ENVS = 2**20  # more is a slip, refused before it fills the memory
Step = tuple[Observations, FloatArray, Flags, Flags, dict[str, Any]]


class LQRVectorEnv(VectorEnv[Observations, npt.NDArray[np.float32], npt.NDArray[Any]]):
    """The batched :class:`maxent_envs.LQREnv`, equal to a ``SyncVectorEnv`` of it to the last bit.

    Environment i is seeded with seed + i and has a generator of its own. After an episode's end the next step resets
    that environment (``NEXT_STEP``): it ignores the action and returns the first observation with reward 0.

    :param num_envs: Number of environments, from 1 to 2^20.
    :param max_episode_steps: Steps after which an episode is truncated, at least 1; ``None`` for never.
    :param preset: As for :class:`maxent_envs.LQREnv`, like all that follow.
    :param A: Dynamics, shape (n, n).
    :param B: Input matrix, shape (n, m).
    :param Q: State cost, shape (n, n).
    :param R: Input cost, shape (m, m).
    :param noise_cov: Covariance of the noise, shape (n, n).
    :param initial_cov: Covariance of the first state, shape (n, n).
    :param gamma: Discount factor of the problem.
    :param action_bound: Bound of the action Box, one number or one per input.
    :param alpha: Largest temperature meant.
    :param render_mode: Must be ``None``: only the single environment draws.
    :raises ValueError: If an argument is out of range.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        preset: str | None = None,
        A: npt.ArrayLike | None = None,
        B: npt.ArrayLike | None = None,
        Q: npt.ArrayLike | None = None,
        R: npt.ArrayLike | None = None,
        noise_cov: npt.ArrayLike | None = None,
        initial_cov: npt.ArrayLike | None = None,
        gamma: float | None = None,
        action_bound: npt.ArrayLike | None = None,
        alpha: float = 1.0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            raise ValueError(
                f"render_mode must be None for the batched environment, got {render_mode!r}; gym.make draws"
            )
        self.problem: LQRProblem = problem_from_arguments(
            preset, A=A, B=B, Q=Q, R=R, noise_cov=noise_cov, initial_cov=initial_cov, gamma=gamma
        )
        self.alpha = positive_float("alpha", alpha)
        self.num_envs = integer("num_envs", num_envs, 1, MAX_ENVS)
        self.max_episode_steps = (
            None if max_episode_steps is None else integer("max_episode_steps", max_episode_steps, 1)
        )
        self.single_observation_space = observation_space(self.problem)
        self.single_action_space = action_space(self.problem, action_bound, self.alpha)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._state: FloatArray | None = None
        self._streams: NoiseStreams | None = None
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start an episode in every environment.

        :param seed: An integer s seeds environment i with s + i; or one seed (or ``None``) for each; ``None`` goes on
            with the generators as they are.
        :param options: ``{"state": x0}`` starts at x0, shape (n,) for all or (num_envs, n); the random numbers are
            consumed all the same.
        :return: Observations, shape (num_envs, n), and an empty dictionary.
        :raises ValueError: If the number of seeds is wrong, the options have another key, or x0 does not fit.
        """
        shape = (self.num_envs, self.problem.n_states)
        given = initial_state_option(options, shape)
        seeds = self._seeds(seed)
        if self._streams is None:
            self._streams = NoiseStreams(seeds, self.problem.n_states)
        else:
            self._streams.reseed(seeds)
        drawn = self.problem.initial_state(self._streams.draw())
        self._state = drawn if given is None else given
        self._elapsed[:] = 0
        self._ended[:] = False
        return observation(self._state), {}

    def step(self, actions: object) -> Step:
        """Apply one action in each environment, or reset it if its episode ended at the last step.

        :param actions: Inputs, shape (num_envs, m); applied as given, also outside the Box.
        :return: Observations of shape (num_envs, n), rewards, terminations (none), truncations, and an empty
            dictionary.
        :raises ValueError: If the actions are not finite or have the wrong shape.
        :raises OverflowError: If a state leaves float32's range.
        :raises gymnasium.error.ResetNeeded: Before the first reset.
        """
        if self._state is None or self._streams is None:
            raise ResetNeeded("reset() must be called before step()")
        u = shaped("actions", actions, (self.num_envs, self.problem.n_inputs))
        restarts = self._ended
        normal = self._streams.draw()
        rewards = np.where(restarts, 0.0, self.problem.reward(self._state, u))
        self._state = self.problem.next_state(self._state, u, normal)
        if restarts.any():
            self._state[restarts] = self.problem.initial_state(normal[restarts])
        self._elapsed = np.where(restarts, 0, self._elapsed + 1)
        truncations = self._elapsed == (self.max_episode_steps or -1)
        self._ended = truncations
        return observation(self._state), rewards, np.zeros(self.num_envs, dtype=np.bool_), truncations.copy(), {}

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            first = integer("seed", seed, 0)
            return [first + index for index in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"seed must be one integer or {self.num_envs}, one per environment; got {len(seed)}")
        return [None if single is None else integer("seed", single, 0) for single in seed]
