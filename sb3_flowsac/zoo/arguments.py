"""The few arguments of the Zoo's programs on which our defaults and checks depend; every one stays the Zoo's to
read."""

import argparse
import difflib
import glob
from pathlib import Path
from typing import Any

import gymnasium as gym
from huggingface_sb3 import EnvironmentName
from rl_zoo3.utils import StoreDict

from sb3_flowsac.zoo.registration import ALGO, config_file
from sb3_flowsac.zoo.settings import check_names, check_settings, read_entry
from sb3_flowsac.zoo.workers import existing_study

DEFAULT_ENV = "MaxEntLQR-v0"
LOG_FOLDER = "logs"  # where the Zoo's train writes to; its enjoy would look elsewhere


class StoreEvaluated(StoreDict):
    """The Zoo's action for ``name:value``, with a message for a value that is no Python."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            super().__call__(parser, namespace, values, option_string)
        except Exception as error:  # the value may be any code
            parser.error(
                f"argument {option_string}: {error}; values are Python, text needs quotes: \"policy:'FlowPolicy'\""
            )


def _parser(verb: str) -> argparse.ArgumentParser:
    usage = f"flowsac {verb} [arguments of the RL Zoo's {verb}]; flowsac {verb} --help lists them"
    parser = argparse.ArgumentParser(prog=f"flowsac {verb}", usage=usage, add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--algo", default=ALGO)
    parser.add_argument("--env", default=DEFAULT_ENV)
    parser.add_argument("--gym-packages", nargs="*", default=[])
    return parser


def _storage(text: str) -> str:
    """A journal by its full name: for the lock of a killed process that lies in another folder Optuna would wait for
    ever."""
    return str(Path(text).absolute()) if text.endswith(".log") else text


def training_parser(verb: str) -> argparse.ArgumentParser:
    """
    A parser for the Zoo's ``train``.

    :param verb: the subcommand, for messages
    """
    parser = _parser(verb)
    parser.add_argument("-conf", "--conf-file", default="")
    parser.add_argument("-params", "--hyperparams", nargs="+", action=StoreEvaluated, default={})
    parser.add_argument("--seed", type=int, default=-1)
    parser.add_argument("-optimize", "--optimize-hyperparameters", action="store_true")
    parser.add_argument("--storage", type=_storage)
    parser.add_argument("--study-name")
    parser.add_argument("--trial-id", type=int)
    return parser


def playing_parser(verb: str) -> argparse.ArgumentParser:
    """
    A parser for the Zoo's ``enjoy`` and ``record_video``.

    :param verb: the subcommand, for messages
    """
    parser = _parser(verb)
    parser.add_argument("-f", "--folder", default=LOG_FOLDER)
    parser.add_argument("--exp-id", type=int, default=0)
    parser.add_argument("--load-best", action="store_true")
    parser.add_argument("--load-checkpoint", type=int)
    parser.add_argument("--load-last-checkpoint", action="store_true")
    return parser


def check_env(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """
    End with a message if no such environment is registered and none can be: the Zoo imports the packages it is given.

    :param parser: parser that ends the command
    :param given: what it has found
    """
    if given.env not in gym.registry and not given.gym_packages:
        near = difflib.get_close_matches(given.env, gym.registry, n=3)
        hint = (
            f"did you mean {' or '.join(near)}?" if near else "name the package that registers it with --gym-packages"
        )
        parser.error(f"argument --env: unknown environment {given.env!r}; {hint}")


def check_trial(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """
    End with a message where the Zoo would train without the trial that was asked for.

    :param parser: parser that ends the command
    :param given: what it has found
    """
    if given.trial_id is None:
        return
    if not (given.storage and given.study_name):
        parser.error("argument --trial-id: needs --storage and --study-name")
    if given.trial_id == 0:
        parser.error("argument --trial-id: the Zoo takes 0 for no trial; give the parameters of trial 0 with -params")
    study = existing_study(given.storage, given.study_name)
    n_trials = len(study.trials) if study else 0
    if not 0 < given.trial_id < n_trials:
        parser.error(
            f"argument --trial-id: the study {given.study_name} in {given.storage} has {n_trials} trials, numbered "
            f"from 0, "
            f"got {given.trial_id}"
        )


def checked_settings(parser: argparse.ArgumentParser, given: argparse.Namespace) -> dict[str, Any] | None:
    """
    FlowSAC's settings as the Zoo will read them; the command ends with a message if they hold an unknown key.

    :param parser: parser that ends the command
    :param given: what it has found
    :return: the entry of the environment, overwritten by ``-params``; ``None`` for other algorithms
    """
    if given.algo != ALGO:
        return None
    conf_file = given.conf_file or str(config_file())
    if conf_file.endswith((".yml", ".yaml", ".py")) and not Path(conf_file).is_file():
        parser.error(f"argument -conf/--conf-file: no such file: {conf_file}")
    try:
        check_names(given.hyperparams)
    except ValueError as error:
        parser.error(f"argument -params/--hyperparams: {error}")
    try:
        return check_settings({**read_entry(conf_file, given.env), **given.hyperparams})
    except (ValueError, TypeError) as error:
        parser.error(f"settings of {given.env} in {conf_file}: {error}")


def latest_run(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    """
    The highest number among the run folders that hold the model asked for: an unfinished run or a search leaves one
    without.

    :param parser: parser that ends the command if there is none
    :param given: what it has found
    """
    env_name = EnvironmentName(given.env)
    folder = Path(given.folder) / given.algo
    runs = [run for run in folder.glob(f"{glob.escape(env_name)}_[0-9]*") if any(run.glob(_model_file(given)))]
    numbers = [int(number) for run in runs if (number := run.name.rpartition("_")[2]).isdigit()]
    if not numbers:
        parser.error(
            f"argument -f/--folder: no saved model of {given.algo} on {given.env} in {folder}; "
            f"first: flowsac train --algo {given.algo} --env {given.env}"
        )
    return max(numbers)


def _model_file(given: argparse.Namespace) -> str:
    """Pattern of the file that the Zoo will look for."""
    if given.load_best:
        return "best_model.zip"
    if given.load_checkpoint is not None:
        return f"rl_model_{given.load_checkpoint}_steps.zip"
    return "rl_model_*_steps.zip" if given.load_last_checkpoint else f"{glob.escape(EnvironmentName(given.env))}.zip"
