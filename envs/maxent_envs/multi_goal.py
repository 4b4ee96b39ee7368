"""MultiGoal-v0: a point mass in the plane with four goals, as in the papers on soft Q-learning."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from maxent_envs.drawing import rgb_image
from maxent_envs.validation import FloatArray, choice, finite_float, interval, matrix, positive_float, read_only, shaped
from maxent_envs.vector_state import Float32Array, VectorStateEnv, initial_state_option

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GOALS = read_only(np.array([[5.0, 0.0], [-5.0, 0.0], [0.0, 5.0], [0.0, -5.0]]))
GOAL_RADIUS = 1.0
POSITION_BOUND = 7.0


class MultiGoalEnv(VectorStateEnv):
    """Move a point from the centre of the plane to one of four goals; the problem is alike in all four directions.

    The action is the velocity: x' = clip(x + a, -7, 7), a in [-1, 1]^2, and the observation is the position. The goals
    stand on the axes at the distance 5. An episode ends closer than 1 to a goal; the registered environment truncates
    it after 30 steps. Actions outside the Box are clipped to it. The reward is

        reward_scale * (goal_reward [goal reached] - action_cost |a|^2 - min_k |x' - goal_k|^2)

    Reference: Haarnoja et al. 2017, arXiv 1702.08165, and the code published with it.

    :param reward_scale: Positive factor of the reward. The default is that of the published experiment, with which a
        temperature of 1 suits.
    :param goal_reward: Reward for the goal.
    :param action_cost: Cost of the action, at least 0.
    :param initial_std: Standard deviation of the first position in each coordinate, from 0 to 7.
    :param render_mode: ``None`` or ``"rgb_array"``.
    :raises ValueError: If an argument is out of range.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012 (as Gymnasium)

    def __init__(
        self,
        reward_scale: float = 0.1,
        goal_reward: float = 10.0,
        action_cost: float = 30.0,
        initial_std: float = 0.1,
        render_mode: str | None = None,
    ) -> None:
        self.reward_scale = positive_float("reward_scale", reward_scale)
        self.goal_reward = finite_float("goal_reward", goal_reward)
        self.action_cost = interval("action_cost", action_cost, 0.0, np.inf)
        self.initial_std = interval("initial_std", initial_std, 0.0, POSITION_BOUND)
        self.render_mode = (
            None if render_mode is None else choice("render_mode", render_mode, self.metadata["render_modes"])
        )
        self.observation_space = spaces.Box(-POSITION_BOUND, POSITION_BOUND, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._path: list[FloatArray] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Start an episode.

        :param seed: Seed of the first positions; ``None`` goes on with the generator as it is.
        :param options: ``{"state": x0}`` starts at x0, shape (2,); the random numbers are consumed all the same.
        :return: Observation, shape (2,), and an empty dictionary.
        :raises ValueError: If the options have another key, or x0 is not in [-7, 7]^2.
        """
        super().reset(seed=seed)
        given = initial_state_option(options, (2,))
        drawn = np.clip(self.initial_std * self.np_random.standard_normal(2), -POSITION_BOUND, POSITION_BOUND)
        if given is not None and np.abs(given).max() > POSITION_BOUND:
            raise ValueError(f"options['state'] must lie in [-7, 7]^2, got {given.tolist()}")
        self._state = drawn if given is None else given
        self._start_drawing(self._state)
        return self._state.astype(np.float32), {}

    def step(self, action: object) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Move the point.

        :param action: The velocity, shape (2,).
        :return: Observation of the next position, reward, whether a goal is reached (terminated), ``False`` (truncation
            is the time limit's), and the information ``goal``: index of the goal reached, or -1.
        :raises ValueError: If the action is not finite or has the wrong shape.
        :raises gymnasium.error.ResetNeeded: Before the first reset and after a goal.
        """
        velocity = np.clip(shaped("action", action, (2,)), -1.0, 1.0)
        position = np.clip(self._current_state() + velocity, -POSITION_BOUND, POSITION_BOUND)
        goal = int(goal_reached(position))
        reached = goal >= 0
        reward = self.goal_reward * reached - self.action_cost * velocity @ velocity - float(distance_cost(position))
        self._state = None if reached else position
        self._path.append(position)
        return position.astype(np.float32), float(self.reward_scale * reward), reached, False, {"goal": goal}

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Draw the path of the episode over the contours of the cost.

        :return: An RGB image, shape (400, 400, 3), in mode ``"rgb_array"``; ``None`` otherwise.
        :raises gymnasium.error.ResetNeeded: Before the first reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; give render_mode='rgb_array' to gym.make")
            return None
        if not self._path:
            self._current_state()
        return rgb_image(lambda figure: plot_rollouts([np.array(self._path)], figure.subplots()), (5.0, 5.0), 80)

    def _start_drawing(self, state: FloatArray) -> None:
        self._path = [state]


def distance_cost(positions: npt.ArrayLike) -> FloatArray:
    """Squared distance to the nearest goal, the part of the cost that depends on the position.

    :param positions: Shape (..., 2).
    :return: Shape (...).
    """
    return np.asarray(np.square(np.asarray(positions)[..., None, :] - GOALS).sum(-1).min(-1))


def goal_reached(positions: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """The goal that a position is closer to than 1.

    :param positions: Shape (..., 2).
    :return: Indices into ``GOALS``, -1 where no goal is so close, shape (...).
    """
    squares = np.square(np.asarray(positions)[..., None, :] - GOALS).sum(-1)
    return np.where(squares.min(-1) < GOAL_RADIUS**2, squares.argmin(-1), -1)


def plot_rollouts(paths: Iterable[npt.ArrayLike], axes: "Axes | None" = None) -> "Axes":
    """Draw paths of MultiGoal-v0 over the contours of the cost, each in the colour of the goal that it reaches.

    :param paths: Positions, each of shape (length, 2); lengths may differ.
    :param axes: Where to draw; a new figure if ``None`` (``axes.figure.savefig(...)`` writes it).
    :return: The axes.
    :raises ValueError: If a path has another shape or is not finite.
    """
    checked = [matrix(f"paths[{i}]", path, (None, 2)) for i, path in enumerate(paths)]
    if axes is None:
        from matplotlib.figure import Figure

        axes = Figure(figsize=(5.0, 5.0), layout="constrained").subplots()
    side = np.linspace(-POSITION_BOUND, POSITION_BOUND, 141)
    axes.contour(
        side, side, distance_cost(np.stack(np.meshgrid(side, side), -1)), levels=20, colors="0.8", linewidths=0.6
    )
    colours = ["tab:blue", "tab:orange", "tab:green", "tab:purple", "0.4"]  # the last, at index -1, of no goal
    for path in checked:
        colour = colours[int(goal_reached(path[-1]))]
        axes.plot(*path.T, color=colour, linewidth=1.0, marker="." if len(checked) == 1 else None)
    axes.plot(*GOALS.T, color="tab:red", linestyle="", marker="o")
    axes.set(xlim=(-POSITION_BOUND, POSITION_BOUND), ylim=(-POSITION_BOUND, POSITION_BOUND), aspect="equal")
    return axes
