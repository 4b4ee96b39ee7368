"""BoltzmannBandit-v0: one step whose max-entropy optimum is a distribution of your choice."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from maxent_envs.targets import Target, get_target
from maxent_envs.validation import FloatArray, array, number
from maxent_envs.vector_state import Float32Array, VectorStateEnv, unbounded_space

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class BoltzmannBanditEnv(VectorStateEnv):
    """See a state s, choose an action a in [-1, 1]^d, get the reward temperature * log p(a|s), and that is all.

    The max-entropy optimum at ``ent_coef = temperature`` is p itself, and its soft value is 0 in every state. Rewards
    are not bounded below: far from a sharp mode log p is hugely negative, and where p is 0 the reward is -inf.
    Actions outside the Box are clipped to it.

    :param target: p(a|s): a name of ``maxent_envs.targets.TARGETS``, or a :class:`maxent_envs.Target`.
    :param temperature: Positive factor of the reward.
    :param render_mode: ``None`` or ``"rgb_array"``: the action among samples of p, in its first two coordinates.
    :raises ValueError: If an argument is none of these, or the target's methods return arrays of the wrong shape.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012 (as Gymnasium)

    def __init__(
        self, target: str | Target = "rotating_mixture", temperature: float = 0.1, render_mode: str | None = None
    ) -> None:
        self.target = get_target(target)
        self.temperature = number("temperature", temperature, 0.0, between=True)
        _try_out(self.target)
        action_space = spaces.Box(-1.0, 1.0, (self.target.action_dim,), np.float32)
        super().__init__(unbounded_space(self.target.state_dim), action_space, render_mode)

    def step(self, action: npt.ArrayLike) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Reward the action and end the episode.

        :param action: The action, shape (d,).
        :return: The observation again, the reward, ``True`` (terminated), ``False`` and an empty dictionary.
        :raises ValueError: If the action is not finite or has the wrong shape.
        :raises gymnasium.error.ResetNeeded: Without a reset before each step.
        """
        seen = self._current_state().astype(np.float32)
        self._action = np.clip(array("action", action, (self.target.action_dim,)), -1.0, 1.0)
        log_density = self.target.log_density(seen[None].astype(np.float64), self._action[None, None])
        self._state = None
        return seen, self.temperature * float(log_density[0, 0]), True, False, {}

    def _draw_state(self) -> FloatArray:
        return np.asarray(self.target.sample_states(1, self.np_random)[0])

    def _draw(self, figure: "Figure") -> None:
        samples = self.target.sample(self._path[-1][None], 500, np.random.default_rng(0))[0]
        on_a_line = samples.shape[1] == 1
        axes = figure.subplots()
        across = np.linspace(-1.0, 1.0, 500) if on_a_line else samples[:, 1]
        axes.plot(samples[:, 0], across, ".", color="0.6", markersize=3, label="500 samples of the optimum")
        if self._action is not None:
            height = 0.0 if on_a_line else self._action[1]
            axes.plot(self._action[0], height, "o", color="tab:red", markersize=9, label="action")
        axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xlabel="action 1")
        axes.set_ylabel("" if on_a_line else "action 2")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)


def _try_out(target: Target) -> None:
    """Call each method of the target once, so that a mistake in a new one is named at the start."""
    rng = np.random.default_rng(0)
    states = array("target.sample_states(2, rng)", target.sample_states(2, rng), (2, target.state_dim))
    actions = array("target.sample(states, 3, rng)", target.sample(states, 3, rng), (2, 3, target.action_dim))
    array("target.log_density(states, actions)", target.log_density(states, actions), (2, 3))
