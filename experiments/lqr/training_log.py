"""Runs of the LQR study as parts of others: their figures, and what their log says of the training."""

from collections.abc import Sequence

import numpy as np
from stable_baselines3.common.utils import get_latest_run_id
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.runner.tasks import Result
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.lqr_study.training import RunSpec, execute

# During training: nobody draws the curves of these runs
BRIEF_EVALUATION = EvaluationSettings(n_rollouts=100, horizon=20, n_states=20, n_actions=200)
LAST_SHARE = 0.1
# Name in a row of results: key of the log, see docs/metrics.md
LOGGED = {"ess": "train/ess", "critic_loss": "train/critic_loss", "train_clip_fraction": "train/clip_fraction"}


def train_and_read_log(spec: RunSpec) -> Result:
    """
    Execute a run, see ``training.execute``.

    :param spec: the run
    :return: its entry in the study's ``results.json``, with ``training_figures``
    """
    return {**execute(spec)["row"], **training_figures(spec)}


def training_figures(spec: RunSpec) -> dict[str, float | None]:
    """
    Averages over the last tenth of what a finished run has logged of its training.

    A run that was interrupted has left a log in its folder; the latest counts.

    :param spec: the run, executed before
    :return: ess (share of the proposals), critic_loss and train_clip_fraction (share of the action components drawn in
        training that lie outside the Box); ``None`` where the run was too short to log one
    """
    folder = str(spec.out / "tensorboard")
    run = f"{folder}/{spec.name}_{get_latest_run_id(folder, spec.name)}"
    log = EventAccumulator(run, {"scalars": 0}).Reload()
    logged = {name: log.Scalars(key) if key in log.Tags()["scalars"] else [] for name, key in LOGGED.items()}
    return {name: _last_average([entry.value for entry in entries]) for name, entries in logged.items()}


def _last_average(values: Sequence[float]) -> float | None:
    if not values:
        return None
    return float(np.mean(values[-max(1, round(LAST_SHARE * len(values))) :]))
