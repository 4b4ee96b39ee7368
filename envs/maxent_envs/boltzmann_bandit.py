"""BoltzmannBandit-v0: one step whose max-entropy optimum is a distribution of your choice."""

from typing import Any

import numpy as np
from gymnasium import spaces

from maxent_envs.targets import Target, get_target
from maxent_envs.validation import positive_float, shaped
from maxent_envs.vector_state import Float32Array, VectorStateEnv, initial_state_option, unbounded_space


class BoltzmannBanditEnv(VectorStateEnv):
    """See a state s, choose an action a in [-1, 1]^d, get the reward temperature * log p(a|s), and that is all.

    The max-entropy optimum at ``ent_coef = temperature`` is p itself, and its soft value is 0 in every state. Rewards
    are not bounded below: far from a sharp mode log p is hugely negative, and where p is 0 the reward is -inf.
    Actions outside the Box are clipped to it.

    :param target: p(a|s): a name of ``maxent_envs.targets.TARGETS``, or a :class:`maxent_envs.Target`.
    :param temperature: Positive factor of the reward.
    :raises ValueError: If an argument is none of these, or the target's methods return arrays of the wrong shape.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (as Gymnasium)

    def __init__(self, target: str | Target = "rotating_mixture", temperature: float = 0.1) -> None:
        self.target = get_target(target)
        self.temperature = positive_float("temperature", temperature)
        _try_out(self.target)
        self.observation_space = unbounded_space(self.target.state_dim)
        self.action_space = spaces.Box(-1.0, 1.0, (self.target.action_dim,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Draw a state.

        :param seed: Seed of the states; ``None`` goes on with the generator as it is.
        :param options: ``{"state": s}`` gives the state s, shape (state_dim,); the random numbers are consumed all the
            same.
        :return: Observation, shape (state_dim,), and an empty dictionary.
        :raises ValueError: If the options have another key, or s is not finite or has the wrong shape.
        """
        super().reset(seed=seed)
        given = initial_state_option(options, (self.target.state_dim,))
        drawn = self.target.sample_states(1, self.np_random)[0]
        observation = (drawn if given is None else given).astype(np.float32)
        self._state = observation.astype(np.float64)  # the reward is that of the state which is seen
        return observation, {}

    def step(self, action: object) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Reward the action and end the episode.

        :param action: The action, shape (d,).
        :return: The observation again, the reward, ``True`` (terminated), ``False`` and an empty dictionary.
        :raises ValueError: If the action is not finite or has the wrong shape.
        :raises gymnasium.error.ResetNeeded: Without a reset before each step.
        """
        state = self._current_state()
        inside = np.clip(shaped("action", action, (self.target.action_dim,)), -1.0, 1.0)
        log_density = self.target.log_density(state[None], inside[None, None])
        self._state = None
        return state.astype(np.float32), self.temperature * float(log_density[0, 0]), True, False, {}


def _try_out(target: Target) -> None:
    """Call each method of the target once, so that a mistake in a new one is named at the start."""
    rng = np.random.default_rng(0)
    states = shaped("target.sample_states(2, rng)", target.sample_states(2, rng), (2, target.state_dim))
    actions = shaped("target.sample(states, 3, rng)", target.sample(states, 3, rng), (2, 3, target.action_dim))
    shaped("target.log_density(states, actions)", target.log_density(states, actions), (2, 3))
