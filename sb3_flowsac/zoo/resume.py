"""``flowsac train --resume``: checkpoints from which the same command goes on."""

import argparse
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType

from rl_zoo3.exp_manager import ExperimentManager

from sb3_flowsac import cli_types as types
from sb3_flowsac.callbacks import ResumableCheckpoint
from sb3_flowsac.zoo.hand_over import replaced
from sb3_flowsac.zoo.registration import ALGO

RESUME_FREQ = 10_000


def resume_parser() -> argparse.ArgumentParser:
    """A parser of the arguments that the Zoo's ``train`` does not know."""
    usage = "flowsac train [--resume FOLDER [--resume-freq N]] [arguments of the RL Zoo's train, listed below]"
    parser = argparse.ArgumentParser(prog="flowsac train", usage=usage, add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--resume",
        metavar="FOLDER",
        type=types.folder,
        help="keep checkpoints here, and go on from the latest; needs --seed",
    )
    parser.add_argument(
        "--resume-freq",
        metavar="N",
        type=types.positive_int,
        help=f"steps between two checkpoints (default: {RESUME_FREQ})",
    )
    return parser


def check_resume(parser: argparse.ArgumentParser, given: argparse.Namespace, resume: argparse.Namespace) -> None:
    """
    End with a message where the same command would not be the same run.

    :param parser: parser that ends the command
    :param given: what is known of the arguments for the Zoo
    :param resume: what ``resume_parser`` has found
    """
    if resume.resume is None:
        if resume.resume_freq is not None:
            parser.error("argument --resume-freq: needs --resume FOLDER")
        return
    if given.algo != ALGO:
        parser.error(f"argument --resume: only for --algo {ALGO}, got {given.algo!r}")
    if given.optimize_hyperparameters:
        parser.error("argument --resume: not with --optimize-hyperparameters, which is many runs")
    if given.seed < 0:
        parser.error(
            "argument --resume: needs --seed, a whole number of at least 0; the Zoo draws another at each start"
        )


def resuming(zoo: ModuleType, resume: argparse.Namespace) -> AbstractContextManager[None]:
    """
    Let the Zoo's ``train`` add a ``ResumableCheckpoint`` to the callbacks that it makes itself, if a folder is given.

    :param zoo: the Zoo's module ``train``
    :param resume: what ``resume_parser`` has found
    """
    if resume.resume is None:
        return nullcontext()
    steps = resume.resume_freq or RESUME_FREQ

    class ResumableExperimentManager(ExperimentManager):
        def create_callbacks(self) -> None:
            self.callbacks.insert(0, ResumableCheckpoint(resume.resume, max(steps // self.n_envs, 1)))
            super().create_callbacks()

    return replaced(zoo, "ExperimentManager", ResumableExperimentManager)
