"""Compare a policy with the known optimum of MaxEntLQR-v0 while it learns."""

from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure

from maxent_envs import LQRProblem
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.callbacks.figures import TENSORBOARD_ONLY
from sb3_flowsac.checks import integer
from sb3_flowsac.evaluation.known_optimum import require_task
from sb3_flowsac.evaluation.lqr import EvaluationSettings, evaluate_policy_on_lqr
from sb3_flowsac.evaluation.policies import LearntPolicy, temperature
from sb3_flowsac.plotting import action_distribution_figure

LOGGED = ("mean_error", "cov_error", "return", "optimal_return")


class LQROptimalityCallback(BaseCallback):
    """
    Compare a policy with the known max-entropy optimum N(-K x, Sigma) while FlowSAC, or SB3's SAC, learns on
    MaxEntLQR-v0.

    Logs, every ``eval_freq`` calls and at the end of training:

    - ``lqr/mean_error``: sum over states of ||mean + K x||_2, divided by the sum of ||K x||_2;
    - ``lqr/cov_error``: average over states of ||cov - Sigma||_2 / ||Sigma||_2 (spectral norm);
    - ``lqr/return`` and ``lqr/optimal_return``: mean discounted return without entropy of the stochastic policy and of
      the optimum, on common random numbers and the same horizon; discounted by the problem's gamma;
    - ``lqr/actions``: a figure of actions in three states beside the optimum's distribution (TensorBoard only).

    The states are drawn from those that the stochastic policy visits in its rollouts. The policy's mean and covariance
    are estimated from ``n_actions`` unclipped actions in each; actions are clipped to the Box when they are applied.

    The temperature is the model's current one: with ``ent_coef="auto"`` the optimum, and with it
    ``lqr/optimal_return``, moves as alpha does. The evaluation has random generators of its own and restores the
    policy's mode, so that a run with the callback learns exactly what a run without learns. ``VecNormalize`` may
    normalise observations; one that normalises rewards is refused, since the temperature, which is not divided, would
    then mean another optimum.

    :param eval_freq: evaluate every ``eval_freq`` calls of the callback; with several environments each call stands for
        ``n_envs`` steps, as for SB3's ``EvalCallback``
    :param n_states: number of visited states in which mean and covariance are estimated
    :param n_actions: number of actions drawn in each of them
    :param n_rollouts: number of rollouts of each policy
    :param horizon: number of steps of a rollout
    :param seed: seed of the evaluation's own random numbers; every evaluation uses the same ones
    :param verbose: verbosity level: 0 for no output, 1 for a line at each evaluation
    :raises ValueError: if a number is out of range; when training starts, if the model is no FlowSAC or SAC, the
        environment no MaxEntLQR (or one whose states, actions or rewards a wrapper changes), or ``model.gamma`` not the
        problem's
    """

    def __init__(
        self,
        eval_freq: int = 1000,
        n_states: int = 50,
        n_actions: int = 4000,
        n_rollouts: int = 500,
        horizon: int = 100,
        seed: int = 0,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self.eval_freq = integer("eval_freq", eval_freq, 1)
        self.settings = EvaluationSettings(n_rollouts, horizon, n_states, n_actions, seed)
        self.history: list[dict[str, float]] = []

    def _init_callback(self) -> None:
        if not isinstance(self.model, FlowSAC | SAC):
            raise ValueError(f"LQROptimalityCallback needs a FlowSAC or SAC model, got {type(self.model).__name__}")
        task = require_task(self.training_env)
        if not isinstance(task, LQRProblem):
            raise ValueError(
                f"LQROptimalityCallback needs MaxEntLQR-v0, got {self.training_env} of a {type(task).__name__}"
            )
        self._soft_model, self.problem = self.model, task
        if self._soft_model.gamma != self.problem.gamma:
            raise ValueError(
                f"model.gamma={self._soft_model.gamma} must be the problem's gamma={self.problem.gamma}: "
                "another discount has another optimum"
            )

    def get_state(self) -> list[dict[str, float]]:
        """The evaluations so far, for ``ResumableCheckpoint``."""
        return self.history

    def set_state(self, state: list[dict[str, float]]) -> None:
        """Go on with the evaluations of an earlier start of the run, which ``get_state`` returned."""
        self.history = state

    def _on_step(self) -> bool:
        if self.n_calls % self.eval_freq == 0:
            self._evaluate()
        return True

    def _on_training_end(self) -> None:
        if not self.history or self.history[-1]["timesteps"] != self.num_timesteps:
            self._evaluate()

    def _evaluate(self) -> None:
        solution = self.problem.solve(temperature(self._soft_model))
        evaluation = evaluate_policy_on_lqr(LearntPolicy(self._soft_model), solution, self.settings)
        metrics = evaluation.metrics()
        self.history.append({"timesteps": self.num_timesteps, **metrics})
        for name in LOGGED:
            self.logger.record(f"lqr/{name}", metrics[name])
        errors = evaluation.errors
        figure = action_distribution_figure([(solution, errors.example_states, errors.example_actions)])
        self.logger.record("lqr/actions", Figure(figure, close=True), exclude=TENSORBOARD_ONLY)
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if self.verbose >= 1:
            print(
                f"{self.num_timesteps} steps: mean error {metrics['mean_error']:.1%}, "
                f"covariance error {metrics['cov_error']:.1%}, return {metrics['return']:.3f} "
                f"(optimum {metrics['optimal_return']:.3f})"
            )
