"""MaxEntLQR-v0: linear-quadratic regulation whose max-entropy optimum is known in closed form."""

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from maxent_envs.lqr.problem import LQRProblem
from maxent_envs.lqr.rendering import TrajectoryView
from maxent_envs.lqr.solution import LQRSolution
from maxent_envs.lqr.sources import problem_from_arguments
from maxent_envs.lqr.spaces import action_space, observation, observation_space
from maxent_envs.validation import FloatArray, choice, positive_float, shaped
from maxent_envs.vector_state import Float32Array, VectorStateEnv, initial_state_option


class LQREnv(VectorStateEnv):
    """Steer x_{k+1} = A x_k + B u_k + w_k to the origin; reward -(x'Qx + u'Ru) of the state left and the action taken.

    Observations are the state in float32; all arithmetic is in float64. Episodes never terminate; the registered
    environment truncates them after 100 steps. Actions are applied as given: the Box is what agents should respect,
    not something the dynamics know. The random numbers depend on the seed only, never on actions or on a given
    initial state, so two policies meet the same noise under the same seed.

    :param preset: Name of a preset, see :func:`maxent_envs.preset`; ``None`` with no matrices means ``"default"``.
    :param A: Dynamics, shape (n, n). The matrices may be arrays or nested lists; give A, B, Q, R all or none.
    :param B: Input matrix, shape (n, m).
    :param Q: State cost, shape (n, n).
    :param R: Input cost, shape (m, m).
    :param noise_cov: Covariance of the noise w, shape (n, n).
    :param initial_cov: Covariance of the first state, shape (n, n).
    :param gamma: Discount factor of the problem, strictly between 0 and 1.
    :param action_bound: Bound of the action Box, one positive number or one per input; derived from alpha if ``None``,
        see :func:`maxent_envs.derived_action_bound`.
    :param alpha: Largest temperature meant, positive: it sets the derived bound and the optimum that rendering shows.
    :param render_mode: ``None``, ``"rgb_array"`` or ``"human"``.
    :raises ValueError: If the problem is invalid (see :class:`maxent_envs.LQRProblem`), a preset is mixed with
        matrices, or another argument is out of range.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012 (as Gymnasium)

    def __init__(
        self,
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
        self.problem: LQRProblem = problem_from_arguments(
            preset, A=A, B=B, Q=Q, R=R, noise_cov=noise_cov, initial_cov=initial_cov, gamma=gamma
        )
        self.alpha = positive_float("alpha", alpha)
        self.observation_space = observation_space(self.problem)
        self.action_space = action_space(self.problem, action_bound, self.alpha)
        self._view: TrajectoryView | None = None
        self.render_mode = render_mode
        if render_mode is not None:
            choice("render_mode", render_mode, self.metadata["render_modes"])
            self._view = TrajectoryView(self.solution, self.metadata["render_fps"])

    @property
    def solution(self) -> LQRSolution:
        """The max-entropy optimum at the temperature ``alpha`` of the environment."""
        return self.problem.solve(self.alpha)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Start an episode.

        :param seed: Seed of the noise and of the first state; ``None`` goes on with the generator as it is.
        :param options: ``{"state": x0}`` starts at x0, shape (n,); the random numbers are consumed all the same.
        :return: Observation, shape (n,), and an empty dictionary.
        :raises ValueError: If the options have another key, or x0 is not finite or has the wrong shape.
        """
        super().reset(seed=seed)
        given = initial_state_option(options, (self.problem.n_states,))
        drawn = self.problem.initial_state(self._standard_normal())
        self._state = drawn if given is None else given
        self._start_drawing(self._state)
        self._show()
        return observation(self._state), {}

    def step(self, action: object) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Apply one action.

        :param action: The inputs u, shape (m,); applied as given, also outside the Box.
        :return: Observation of the next state, reward, ``False`` twice (no termination; truncation is the time
            limit's), and an empty dictionary.
        :raises ValueError: If the action is not finite or has the wrong shape.
        :raises OverflowError: If the state leaves float32's range.
        :raises gymnasium.error.ResetNeeded: Before the first reset.
        """
        state = self._current_state()
        u = shaped("action", action, (self.problem.n_inputs,))
        reward = float(self.problem.reward(state, u))
        self._state = self.problem.next_state(state, u, self._standard_normal())
        if self._view is not None:
            self._view.add(u, self._state)
        self._show()
        return observation(self._state), reward, False, False, {}

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Draw the episode: its path in the plane of the first two states, the optimal action beside the taken one.

        :return: An RGB image, shape (height, width, 3), in mode ``"rgb_array"``; ``None`` otherwise.
        :raises gymnasium.error.ResetNeeded: Before the first reset.
        """
        if self._view is None:
            gym.logger.warn("render() was called without a render_mode; give render_mode='rgb_array' to gym.make")
            return None
        self._current_state()
        if self.render_mode == "human":
            self._view.show()
            return None
        return self._view.image()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._view is not None:
            self._view.close()

    def _start_drawing(self, state: FloatArray) -> None:
        if self._view is not None:
            self._view.start(state)

    def _show(self) -> None:
        if self.render_mode == "human":
            self.render()

    def _standard_normal(self) -> FloatArray:
        return self.np_random.standard_normal(self.problem.n_states)
