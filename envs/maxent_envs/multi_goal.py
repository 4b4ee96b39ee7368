"""MultiGoal-v0: a point mass in the plane with four goals, as in the papers on soft Q-learning."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from maxent_envs.validation import FloatArray, array, number, read_only
from maxent_envs.vector_state import Float32Array, VectorStateEnv

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    :param render_mode: ``None`` or ``"rgb_array"``: the path over the contours of the cost.
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
        self.reward_scale = number("reward_scale", reward_scale, 0.0, between=True)
        self.goal_reward = number("goal_reward", goal_reward)
        self.action_cost = number("action_cost", action_cost, 0.0)
        self.initial_std = number("initial_std", initial_std, 0.0, POSITION_BOUND)
        observation_space = spaces.Box(-POSITION_BOUND, POSITION_BOUND, (2,), np.float32)
        super().__init__(observation_space, spaces.Box(-1.0, 1.0, (2,), np.float32), render_mode)

    def step(self, action: npt.ArrayLike) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Move the point.

        :param action: The velocity, shape (2,).
        :return: Observation of the next position, reward, whether a goal is reached (terminated), ``False`` (truncation
            is the time limit's), and the information ``goal``: index of the goal reached, or -1.
        :raises ValueError: If the action is not finite or has the wrong shape.
        :raises gymnasium.error.ResetNeeded: Before the first reset and after a goal.
        """
        velocity = np.clip(array("action", action, (2,)), -1.0, 1.0)
        position = np.clip(self._current_state() + velocity, -POSITION_BOUND, POSITION_BOUND)
        goal = int(goal_reached(position))
        reached = goal >= 0
        reward = self.goal_reward * reached - self.action_cost * velocity @ velocity - float(distance_cost(position))
        self._move(position)
        if reached:
            self._state = None
        return position.astype(np.float32), float(self.reward_scale * reward), reached, False, {"goal": goal}

    def _draw_state(self) -> FloatArray:
        return np.clip(self.initial_std * self.np_random.standard_normal(2), -POSITION_BOUND, POSITION_BOUND)

    def _draw(self, figure: "Figure") -> None:
        axes = plot_rollouts([np.array(self._path)], figure.subplots())
        axes.plot(*self._path[-1], marker="o", markersize=9, color="black", zorder=3)


def distance_cost(positions: npt.ArrayLike) -> FloatArray:
    """Squared distance to the nearest goal, the part of the cost that depends on the position: (..., 2) to (...)."""
    return np.asarray(_squared_distances(positions).min(-1))


def goal_reached(positions: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """The goal that a position is closer to than 1, as an index into ``GOALS``, or -1: (..., 2) to (...)."""
    squares = _squared_distances(positions)
    return np.where(squares.min(-1) < GOAL_RADIUS**2, squares.argmin(-1), -1)


def _squared_distances(positions: npt.ArrayLike) -> FloatArray:
    return np.asarray(np.square(np.asarray(positions)[..., None, :] - GOALS).sum(-1))


def plot_rollouts(paths: Iterable[npt.ArrayLike], axes: "Axes | None" = None) -> "Axes":
    """Draw paths of MultiGoal-v0 over the contours of the cost, each in the colour of the goal that it reaches.

    :param paths: Positions, each of shape (length, 2); lengths may differ.
    :param axes: Where to draw; a new figure if ``None`` (``axes.figure.savefig(...)`` writes it).
    :return: The axes.
    :raises ValueError: If a path has another shape or is not finite.
    """
    checked = [array(f"paths[{i}]", path, (None, 2)) for i, path in enumerate(paths)]
    if axes is None:
        from matplotlib.figure import Figure

        axes = Figure(figsize=(5.0, 5.0), layout="constrained").subplots()
    side = np.linspace(-POSITION_BOUND, POSITION_BOUND, 141)
    costs = distance_cost(np.stack(np.meshgrid(side, side), -1))
    axes.contour(side, side, costs, levels=20, colors="0.8", linewidths=0.6)
    colours = ["tab:blue", "tab:orange", "tab:green", "tab:purple", "0.4"]  # the last, at index -1, of no goal
    for path in checked:
        colour = colours[int(goal_reached(path[-1]))]
        axes.plot(*path.T, color=colour, linewidth=1.0, marker="." if len(checked) == 1 else None)
    axes.plot(*GOALS.T, color="tab:red", linestyle="", marker="o")
    axes.set(xlim=(-POSITION_BOUND, POSITION_BOUND), ylim=(-POSITION_BOUND, POSITION_BOUND), aspect="equal")
    return axes
