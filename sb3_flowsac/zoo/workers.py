"""Trials whose process was killed: a study calls them running for ever, and the Zoo counts them as done."""

import contextlib
import os
import socket
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import psutil
import sqlalchemy.exc
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

WORKER = "worker"  # user attribute of a trial: the process that runs it
CLOCK = 5.0  # seconds by which the start of a process may seem to move when the clock is set
PAUSE = 2.0  # seconds in which another process has made the tables of a new database
UNSIGNED = timedelta(minutes=1)  # after which a trial without a worker is lost: the worker is the first that it notes


def this_process() -> dict[str, Any]:
    """What tells this process from any other: host, number and start."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def fail_lost_trials(storage: str, study_name: str) -> list[FrozenTrial]:
    """
    Mark the running trials of a study as failed whose process, on this machine, is no more.

    :param storage: the Zoo's ``--storage``: a database's URL, or the name of a journal, which ends in ".log"
    :param study_name: name of the study; one that is not there yet has no trials
    :return: the trials
    """
    study = existing_study(storage, study_name)
    if study is None:
        return []
    lost = [trial for trial in study.get_trials(states=(TrialState.RUNNING,)) if _is_lost(trial)]
    for trial in lost:
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process that starts was first
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    return lost


def existing_study(storage: str, study_name: str) -> optuna.Study | None:
    """
    Open a study if there is one.

    :param storage: the Zoo's ``--storage``
    :param study_name: name of the study
    """
    if storage.endswith(".log") and not Path(storage).is_file():
        return None
    try:
        return _load_study(storage, study_name)
    except KeyError:
        return None


def _load_study(storage: str, study_name: str) -> optuna.Study:
    opened = JournalStorage(JournalFileBackend(storage)) if storage.endswith(".log") else storage
    try:
        return optuna.load_study(study_name=study_name, storage=opened)
    except sqlalchemy.exc.DatabaseError:  # two that start at the same moment make the same tables, and one fails
        time.sleep(PAUSE)
        return optuna.load_study(study_name=study_name, storage=opened)


def _is_lost(trial: FrozenTrial) -> bool:
    worker = trial.user_attrs.get(WORKER)
    if worker is None:
        return bool(trial.datetime_start and datetime.now() - trial.datetime_start > UNSIGNED)
    if worker["host"] != socket.gethostname():
        return False
    try:
        return bool(abs(psutil.Process(worker["pid"]).create_time() - worker["started"]) > CLOCK)
    except psutil.NoSuchProcess:
        return True
