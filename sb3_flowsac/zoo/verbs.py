"""The Zoo's programs, with our defaults, checks and variants of FlowSAC."""

import argparse
import importlib
import runpy
from collections.abc import Sequence
from functools import partial
from typing import Any

import optuna
from rl_zoo3 import utils
from rl_zoo3.utils import create_test_env
from stable_baselines3.common.vec_env import VecEnv

from sb3_flowsac import FlowSAC
from sb3_flowsac.files.loading import WITHOUT_MEMORY
from sb3_flowsac.zoo.arguments import (
    DEFAULT_ENV,
    LOG_FOLDER,
    check_env,
    check_trial,
    checked_settings,
    latest_run,
    playing_parser,
    training_parser,
)
from sb3_flowsac.zoo.hand_over import hand_over, replaced
from sb3_flowsac.zoo.registration import ALGO, config_file, registered
from sb3_flowsac.zoo.resume import check_resume, resume_parser, resuming
from sb3_flowsac.zoo.search import searched, study_from_defaults
from sb3_flowsac.zoo.workers import WORKER, fail_lost_trials

# The Zoo's plots, and what they are told unless the user tells them otherwise
PLOTS = {
    "plot_train": ["--algo", ALGO, "--env", DEFAULT_ENV, "--exp-folder", LOG_FOLDER],
    "all_plots": ["--algos", ALGO, "--env", DEFAULT_ENV, "--exp-folders", LOG_FOLDER],
    "plot_from_file": [],
}


class FlowSACWithoutMemory(FlowSAC):
    """FlowSAC as a trained policy is replayed: loaded without room for experience, as the Zoo loads SAC."""

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> Any:
        return super().load(*args, **{**WITHOUT_MEMORY, **kwargs})


class FlowSACInTrial(FlowSAC):
    """FlowSAC in a search, where settings with which it diverges end the trial and not the search."""

    def learn(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().learn(*args, **kwargs)
        except FloatingPointError as error:
            raise ValueError(str(error)) from error  # for this the Zoo prunes a trial


def train(argv: Sequence[str]) -> None:
    """
    Run the Zoo's ``train``. Unless given, the algorithm is FlowSAC, on ``MaxEntLQR-v0``, with the settings of this
    package.

    ``--resume FOLDER`` and ``--resume-freq N`` are ours: checkpoints from which the same command goes on.

    :param argv: arguments of the Zoo's ``train``, and ours
    """
    _train("train", argv)


def tune(argv: Sequence[str]) -> None:
    """
    Run the Zoo's search for hyperparameters, ``train -optimize``, with the defaults of ``train``.

    What the settings fix is left alone; FlowSAC's defaults of the rest are the first trial. Trials that a killed
    process has left are marked as failed.

    :param argv: arguments of the Zoo's ``train``
    """
    _train("tune", ["-optimize", *argv])


def _train(verb: str, argv: Sequence[str]) -> None:
    import rl_zoo3.train as zoo

    parser, ours = training_parser(verb), resume_parser()
    resume, argv = ours.parse_known_args(argv)
    given, _ = parser.parse_known_args(argv)
    settings = None
    if given.help:
        print(ours.format_help() if verb == "train" else "", end="")
    else:
        check_env(parser, given)
        check_resume(parser, given, resume)
        check_trial(parser, given)
        settings = checked_settings(parser, given)
    create_study = optuna.create_study
    if settings is not None and given.optimize_hyperparameters:
        create_study = partial(study_from_defaults, create_study, _prepare_search(parser, given, settings))
    if given.storage:
        argv = [*argv, "--storage", given.storage]
    defaults = ["--algo", ALGO, "--env", DEFAULT_ENV]
    if given.algo == ALGO:
        defaults += ["--conf-file", str(config_file())]
    algorithm = FlowSACInTrial if given.optimize_hyperparameters else FlowSAC
    with registered(algorithm, settings), resuming(zoo, resume), replaced(optuna, "create_study", create_study):
        hand_over(verb, zoo.train, [*defaults, *argv])


def _prepare_search(parser: argparse.ArgumentParser, given: argparse.Namespace, settings: dict[str, Any]) -> list[str]:
    """Say what a search tries, free the trials of killed processes, and return the names of what is tried."""
    names = searched(settings)
    if not names:
        parser.error("nothing to search: the settings fix all of it; leave out of them what is to be found")
    print(f"Searching {', '.join(names)}; what the settings name stays as it is")
    if given.storage and given.study_name:
        for trial in fail_lost_trials(given.storage, given.study_name):
            print(f"Trial {trial.number} marked as failed: its process is no more ({trial.user_attrs.get(WORKER)})")
    return names


def enjoy(argv: Sequence[str]) -> None:
    """
    Run the Zoo's ``enjoy``. Unless given, it replays FlowSAC's latest saved model on ``MaxEntLQR-v0`` in the folder
    ``logs``.

    :param argv: arguments of the Zoo's ``enjoy``
    """
    from rl_zoo3.enjoy import enjoy as zoo_enjoy

    with registered(FlowSACWithoutMemory):
        hand_over("enjoy", zoo_enjoy, _with_latest_run("enjoy", argv))


def record(argv: Sequence[str]) -> None:
    """
    Run the Zoo's ``record_video``, with the defaults of ``enjoy``.

    ``--gym-packages`` is ours, as in the Zoo's other programs: modules that register environments.

    :param argv: arguments of the Zoo's ``record_video``, and ours
    """
    usage = "flowsac record [--gym-packages MODULE ...] [arguments of the RL Zoo's record_video, listed below]"
    ours = argparse.ArgumentParser(prog="flowsac record", usage=usage, add_help=False, allow_abbrev=False)
    ours.add_argument(
        "--gym-packages", metavar="MODULE", nargs="+", default=[], help="modules that register environments"
    )
    given, argv = ours.parse_known_args(argv)
    if not {"-h", "--help"}.isdisjoint(argv):
        print(ours.format_help())
    for package in given.gym_packages:
        importlib.import_module(package)
    with registered(FlowSACWithoutMemory), replaced(utils, "create_test_env", _create_test_env):
        program = partial(runpy.run_module, "rl_zoo3.record_video", run_name="__main__")
        hand_over("record", program, _with_latest_run("record", argv))


def plot(argv: Sequence[str]) -> None:
    """
    Run one of the Zoo's plots: ``plot_train``, ``all_plots`` or ``plot_from_file``.

    :param argv: its name and its arguments
    """
    parser = argparse.ArgumentParser(
        prog="flowsac plot",
        usage=f"flowsac plot {{{','.join(PLOTS)}}} [arguments of the RL Zoo's plot]; flowsac plot NAME --help lists them",
        description="plot_train: returns in training. all_plots: evaluations, as curves, table and file for plot_from_file.",
    )
    parser.add_argument("plot", choices=list(PLOTS), help="name of the plot, as in the Zoo")
    name = parser.parse_args(argv[:1]).plot
    from rl_zoo3 import plots

    hand_over(f"plot {name}", getattr(plots, name), [*PLOTS[name], *argv[1:]])


def _create_test_env(env_id: str, *, hyperparams: dict[str, Any], env_kwargs: dict[str, Any], **kwargs: Any) -> VecEnv:
    """The Zoo's environment for ``record_video``, which alone of its programs forgets the ``env_kwargs`` of the
    settings."""
    env_kwargs = {**hyperparams.get("env_kwargs", {}), **env_kwargs}
    env: VecEnv = create_test_env(env_id, hyperparams=hyperparams, env_kwargs=env_kwargs, **kwargs)
    return env


def _with_latest_run(verb: str, argv: Sequence[str]) -> list[str]:
    """Arguments of a program that replays a model, with our defaults; a run without the model does not count."""
    parser = playing_parser(verb)
    given, _ = parser.parse_known_args(argv)
    argv = ["--algo", ALGO, "--env", DEFAULT_ENV, "--folder", LOG_FOLDER, *argv]
    if given.help:
        return argv
    check_env(parser, given)
    if given.exp_id == 0 and "rl-trained-agents" not in given.folder:  # from there the Zoo would download
        argv += ["--exp-id", str(latest_run(parser, given))]
    return argv
