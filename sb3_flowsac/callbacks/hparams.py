"""The settings of a run in TensorBoard's HParams tab."""

from collections.abc import Sequence

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam

from sb3_flowsac.callbacks.figures import TENSORBOARD_ONLY
from sb3_flowsac.files.run_settings import hyperparameters


class HParamsCallback(BaseCallback):
    """
    Log the model's arguments when training starts, for TensorBoard's HParams tab, where runs are compared by them.

    Numbers, texts and truth values are logged as they are, ``policy_kwargs`` under their own names, all else as text.

    :param metrics: keys of the log that the tab shows beside them, such as "eval/mean_reward" or "lqr/cov_error"
    :param verbose: verbosity level
    :raises ValueError: if there is no metric
    """

    def __init__(self, metrics: Sequence[str] = ("rollout/ep_rew_mean", "train/ess"), verbose: int = 0) -> None:
        super().__init__(verbose)
        if isinstance(metrics, str) or not metrics:
            raise ValueError(f"metrics must be a list of one key of the log or more, got {metrics!r}")
        self.metrics = tuple(metrics)

    def _on_training_start(self) -> None:
        # The zeros only name the metrics: the tab reads their values from the scalars of the same names
        hparams = HParam(hyperparameters(self.model), dict.fromkeys(self.metrics, 0.0))
        self.logger.record("hparams", hparams, exclude=TENSORBOARD_ONLY)  # written with the first line of the log

    def _on_step(self) -> bool:
        return True
