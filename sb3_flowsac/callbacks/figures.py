"""Pictures of the policy in TensorBoard while it learns."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure

from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.checks import integer
from sb3_flowsac.evaluation.known_optimum import task_of
from sb3_flowsac.plotting import policy_figures

N_OBSERVATIONS = 64
TENSORBOARD_ONLY = ("stdout", "log", "csv", "json")  # formats to exclude


class FigureCallback(BaseCallback):
    """
    Draw the policy in a few states, every ``freq`` calls and at the end of training (TensorBoard's Images tab only).

    Logs ``figures/action_density``, ``figures/flow_paths`` and ``figures/weights``, see ``sb3_flowsac.plotting``; on
    ``BoltzmannBandit-v0`` ``figures/against_target``, and on ``MaxEntLQR-v0`` ``figures/against_optimum``: the drawn
    actions and their ellipse beside that of the optimum at the model's current temperature. The environment's wrappers
    may normalise observations, but not change what a state, an action or a reward means; these two are left out then.

    The same states are drawn every time. The random numbers are the figures' own: a run with the callback learns
    exactly what a run without learns.

    :param freq: draw every ``freq`` calls of the callback; with several environments each call stands for ``n_envs``
        steps, as for SB3's ``EvalCallback``
    :param n_states: number of states in which actions are drawn
    :param observations: a batch of observations as the environment gives them, from which these states are taken and
        whose weights are shown; by default 64 of those in the replay buffer when the first figure is drawn
    :param verbose: verbosity level
    :raises ValueError: if a number is out of range; when training starts, if the model is no FlowSAC
    """

    def __init__(self, freq: int = 5000, n_states: int = 3, observations: Any = None, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.freq, self.n_states = integer("freq", freq, 1), integer("n_states", n_states, 1)
        self.observations = observations
        self._drawn_at = -1

    def _init_callback(self) -> None:
        if not isinstance(self.model, FlowSAC):
            raise ValueError(f"FigureCallback needs a FlowSAC model, got {type(self.model).__name__}")
        self._flow_model = self.model
        self._task = task_of(self.training_env)

    def _on_step(self) -> bool:
        if self.n_calls % self.freq == 0:
            self._draw()
        return True

    def _on_training_end(self) -> None:
        if self._drawn_at != self.num_timesteps:
            self._draw()

    def get_state(self) -> dict[str, Any]:
        """The states that are drawn: a run that ``ResumableCheckpoint`` resumes draws the same ones."""
        return {"observations": self.observations}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with the states of a checkpoint."""
        self.observations = state["observations"]

    def _draw(self) -> None:
        if self.observations is None:
            self.observations = _stored_observations(self._flow_model)
        for name, figure in policy_figures(self._flow_model, self.observations, self._task, self.n_states).items():
            self.logger.record(f"figures/{name}", Figure(figure, close=True), exclude=TENSORBOARD_ONLY)
        self._drawn_at = self.num_timesteps
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)


def _stored_observations(model: FlowSAC) -> Any:
    """Observations of the first environment in the replay buffer, evenly spaced in time, as an environment gives
    them."""
    buffer: Any = model.replay_buffer
    chosen = np.linspace(0, max(buffer.size(), 1) - 1, N_OBSERVATIONS).astype(int)

    def taken(stored: Any, space: spaces.Space[Any]) -> Any:
        return stored[chosen, 0].reshape(-1, *(space.shape or ()))  # buffers keep a number as an array of one

    if isinstance(buffer.observation_space, spaces.Dict):
        return {key: taken(buffer.observations[key], space) for key, space in buffer.observation_space.spaces.items()}
    return taken(buffer.observations, buffer.observation_space)
