"""MaxEntLQR-v0: linear-quadratic regulation whose max-entropy optimum is known in closed form."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from maxent_envs.lqr.bounds import action_bounds, derived_action_bound
from maxent_envs.lqr.presets import preset as preset_problem
from maxent_envs.lqr.problem import LQRProblem
from maxent_envs.lqr.sources import problem_of
from maxent_envs.validation import FloatArray, abridged, array
from maxent_envs.vector_state import Float32Array, VectorStateEnv, unbounded_space

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LQREnv(VectorStateEnv):
    """Steer x_{k+1} = A x_k + B u_k + w_k to the origin; the reward is -(x'Qx + u'Ru + 2 x'Nu), x the state left.

    Observations are the state in float32; all arithmetic is in float64. Episodes never terminate; the registered
    environment truncates them after 100 steps. Actions are applied as given: the Box is what agents should respect,
    not something the dynamics know. The random numbers depend on the seed only, never on actions or on a given
    initial state, so two policies meet the same noise under the same seed.

    ``problem`` is the problem, ``solution`` its optimum at the temperature ``alpha``, and ``gamma`` the discount factor
    with which an agent must train to learn the optimum.

    :param preset: Name of a preset, see :func:`maxent_envs.preset`; ``None`` with no matrices means ``"default"``.
    :param action_bound: Bound of the action Box, one positive number or one per input; derived from alpha if ``None``,
        see :func:`maxent_envs.derived_action_bound`.
    :param alpha: Largest temperature meant, positive: it sets the derived bound and the optimum that rendering shows.
    :param render_mode: ``None`` or ``"rgb_array"``: the path in the plane of the first two states, and the optimal
        action beside the taken one. With ``"human"``, ``gym.make`` shows these pictures in a window.
    :param matrices: Arguments of :class:`maxent_envs.LQRProblem` in place of a preset, arrays or nested lists: ``A``,
        ``B``, ``Q``, ``R``, and those of ``N``, ``noise_cov``, ``initial_cov``, ``gamma`` that are not the default.
    :raises ValueError: If the problem is invalid, a preset is mixed with matrices, or another argument is out of range.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (as Gymnasium)
    size_inches = (8.0, 4.0)

    def __init__(
        self,
        preset: str | None = None,
        action_bound: npt.ArrayLike | None = None,
        alpha: float = 1.0,
        render_mode: str | None = None,
        **matrices: npt.ArrayLike | None,
    ) -> None:
        given = {name: value for name, value in matrices.items() if value is not None}
        if preset is not None and given:
            raise ValueError(f"preset={preset!r} must not be mixed with {', '.join(given)}: give a preset or matrices")
        self.problem: LQRProblem = (
            problem_of(given, "MaxEntLQR-v0") if given else preset_problem("default" if preset is None else preset)
        )
        self.solution = self.problem.solve(alpha)
        self.alpha, self.gamma = self.solution.alpha, self.problem.gamma
        given_bound = derived_action_bound(self.problem, alpha) if action_bound is None else action_bound
        bound = action_bounds(given_bound, self.problem.n_inputs).astype(np.float32)
        action_space = spaces.Box(-bound, bound, dtype=np.float32)
        super().__init__(unbounded_space(self.problem.n_states), action_space, render_mode)

    def step(self, action: npt.ArrayLike) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Apply one action.

        :param action: The inputs u, shape (m,); applied as given, also outside the Box.
        :return: Observation of the next state, reward, ``False`` twice (no termination; truncation is the time
            limit's), and an empty dictionary.
        :raises ValueError: If the action is not finite or has the wrong shape.
        :raises OverflowError: If the state leaves float32's range.
        :raises gymnasium.error.ResetNeeded: Before the first reset.
        """
        state = self._current_state()
        self._action = u = array("action", action, (self.problem.n_inputs,))
        following = self.problem.next_state(state, u, self._standard_normal())
        self._move(following)
        return observation(following), float(self.problem.reward(state, u)), False, False, {}

    def _draw_state(self) -> FloatArray:
        return self.problem.initial_state(self._standard_normal())

    def _draw(self, figure: "Figure") -> None:
        path, optimum = np.array(self._path), self.solution
        path_axes, action_axes = figure.subplots(1, 2)
        for axes in (path_axes, action_axes):
            axes.axhline(0.0, color="0.85", zorder=0)
        if path.shape[1] > 1:
            points, labels = path[:, :2], ("state 1", "state 2")
            path_axes.axvline(0.0, color="0.85", zorder=0)
        else:
            points, labels = np.column_stack([np.arange(len(path)), path]), ("step", "state")
        path_axes.plot(*points.T, marker=".", color="tab:blue", linewidth=1.0, label="path")
        path_axes.plot(*points[-1:].T, marker="o", markersize=9, linestyle="", color="tab:red", label="now")
        path_axes.set(xlabel=labels[0], ylabel=labels[1], title=f"step {len(path) - 1}")
        position = np.arange(self.problem.n_inputs)
        action_axes.set_xticks(position, [f"input {i + 1}" for i in position])
        action_axes.set(title="last action", ylabel="value")
        if self._action is not None:
            action_axes.bar(position - 0.2, self._action, width=0.35, color="tab:blue", label="taken")
            optimal, std = optimum.mean(path[-2]), np.sqrt(np.diag(optimum.Sigma))
            label = "optimal, mean and std"
            action_axes.bar(position + 0.2, optimal, width=0.35, color="tab:orange", yerr=std, label=label)
        figure.legend(loc="outside lower center", ncols=4, frameon=False)

    def _standard_normal(self) -> FloatArray:
        return self.np_random.standard_normal(self.problem.n_states)


def observation(state: FloatArray) -> Float32Array:
    """The state as the agent sees it.

    :param state: States, shape (..., n), float64.
    :return: The same in float32.
    :raises OverflowError: If a state has left the range of float32: the system is unstable and was not controlled.
    """
    if not (np.abs(state) <= np.finfo(np.float32).max).all():
        raise OverflowError(
            f"the state must stay within float32's range, got {abridged(state)}: the actions let an unstable "
            f"system run away"
        )
    return state.astype(np.float32)
