"""The Zoo's programs with our defaults, options and checks, which join the parsers that the programs make."""

import importlib
import os
import runpy
import shlex
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
from rl_zoo3.utils import ALGOS, get_latest_run_id, get_model_path, get_saved_hyperparams
from stable_baselines3.common.monitor import get_monitor_files, load_results

from sb3_flowsac import FlowSAC  # the package registers the environments, too
from sb3_flowsac.callbacks import ResumableCheckpoint
from sb3_flowsac.files.loading import WITHOUT_MEMORY
from sb3_flowsac.plotting.style import has_display
from sb3_flowsac.zoo.search import convert_flowsac_params, prepare_study, sample_flowsac_params, searched
from sb3_flowsac.zoo.settings import config_file, read_settings

ALGO = "flowsac"
DEFAULTS = ["--algo", ALGO, "--env", "MaxEntLQR-v0"]
REPLAY = [*DEFAULTS, "--folder", "logs"]  # where the Zoo's train writes to; its enjoy would look elsewhere
# The programs, and what they are told unless the user tells them otherwise
PROGRAMS = {
    "train": ("rl_zoo3.train", DEFAULTS),
    "tune": ("rl_zoo3.train", ["-optimize", *DEFAULTS]),
    "enjoy": ("rl_zoo3.enjoy", REPLAY),
    "record": ("rl_zoo3.record_video", REPLAY),
    "plot_train": ("rl_zoo3.plots", [*DEFAULTS, "--exp-folder", "logs"]),
    "all_plots": ("rl_zoo3.plots", ["--algos", ALGO, "--env", "MaxEntLQR-v0", "--exp-folders", "logs"]),
    "plot_from_file": ("rl_zoo3.plots", []),
}
OWN_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "train": {
        "--resume": dict(metavar="FOLDER", help="keep a checkpoint in this folder, go on from it; needs --seed"),
        "--resume-freq": dict(metavar="N", type=int, default=10_000, help="steps between checkpoints (default: 10000)"),
    },
    "enjoy": {"--pretrained": dict(metavar="ENV", help="an agent of the repository: enjoy --pretrained ENV --help")},
    "record": {"--gym-packages": dict(nargs="+", metavar="MODULE", default=[], help="modules of environments")},
}
"""Ours, beside those of the programs."""


def register(algorithm: Any = FlowSAC, settings: Mapping[str, Any] | None = None) -> None:
    """
    Make FlowSAC, its search and the ``maxent_envs`` environments known to the Zoo.

    :param algorithm: what the Zoo makes or loads
    :param settings: what each trial of a search starts from; by default the names that the Zoo notes in the study
    """
    ALGOS[ALGO] = algorithm
    HYPERPARAMS_SAMPLER[ALGO] = partial(sample_flowsac_params, settings=settings)
    HYPERPARAMS_CONVERTER[ALGO] = partial(convert_flowsac_params, settings=settings)


def run(verb: str, argv: Sequence[str]) -> None:
    """
    Run a program of the Zoo. Unless given, the algorithm is FlowSAC, the environment ``MaxEntLQR-v0``.

    :param verb: "train", "tune" (``train -optimize``), "enjoy", "record" (``record_video``) or one of the plots,
        "plot_train", "all_plots" and "plot_from_file"
    :param argv: arguments of the program, and ours: ``--resume`` and ``--resume-freq`` of "train", ``--gym-packages``
        of "record"
    """
    module, defaults = PROGRAMS[verb]
    try:
        _start(verb, lambda parser: _parse(verb, parser, [*defaults, *argv]))
    except ValueError as error:
        if str(error) == "Record does not exist.":  # Optuna's answer when asked for the best of no finished trial
            raise ValueError("no trial has finished: all were pruned or failed, see above") from error
        raise
    finally:
        register()
    if module == "rl_zoo3.plots" and not has_display():
        from matplotlib import pyplot

        for number in pyplot.get_fignums():
            pyplot.figure(number).savefig(file := f"{verb}_{number}.png")
            print(f"No display: the figure is in {file}")
        pyplot.close("all")


def parser_of(verb: str) -> ArgumentParser:
    """The options of a program of the Zoo, a ``verb`` of ``run``, with ours."""
    parsers: list[ArgumentParser] = []

    def stop(parser: ArgumentParser) -> NoReturn:
        parsers.append(parser)
        raise SystemExit  # before the program begins

    with suppress(SystemExit):
        _start(verb, stop)
    return parsers[0]


def _start(verb: str, parse: Callable[[ArgumentParser], Namespace]) -> None:
    """Start a program of the Zoo, with ``parse`` in place of its parser's ``parse_args``."""
    module, original = PROGRAMS[verb][0], ArgumentParser.parse_args

    def parse_args(parser: ArgumentParser) -> Namespace:
        ArgumentParser.parse_args = original  # type: ignore[method-assign]
        parser.prog = f"flowsac plot {verb}" if module == "rl_zoo3.plots" else f"flowsac {verb}"
        parser.usage = "%(prog)s [options of the RL Zoo's program]; %(prog)s --help lists them"
        for option, settings in OWN_OPTIONS.get(verb, {}).items():
            parser.add_argument(option, **settings)
        return parse(parser)

    register()
    ArgumentParser.parse_args = parse_args  # type: ignore[method-assign,assignment]
    try:
        if verb == "record":  # no function, only a main block
            runpy.run_module(module, run_name="__main__")
        else:
            getattr(importlib.import_module(module), "train" if verb == "tune" else verb)()
    finally:
        ArgumentParser.parse_args = original  # type: ignore[method-assign]


def _parse(verb: str, parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Read a command line, check it, and complete what the program is told."""
    try:
        args = parser.parse_args(argv)
    except Exception as error:  # the Zoo evaluates values as Python
        hint = "values of NAME:VALUE are Python, text needs quotes: \"policy:'FlowPolicy'\""
        parser.error(f"argument -params, --env-kwargs or --eval-env-kwargs: {error}; {hint}")
    if verb in ("train", "tune"):
        _prepare_training(parser, args)
    elif verb in ("enjoy", "record"):
        _prepare_replay(parser, args)
    elif verb == "plot_train":
        _check_window(parser, args)
    return args


def _prepare_training(parser: ArgumentParser, args: Namespace) -> None:
    if args.trial_id is not None and not (args.trial_id > 0 and args.storage and args.study_name):
        parser.error(
            "argument --trial-id: needs --storage, --study-name, and a number above 0, the Zoo's sign for none"
        )
    resume = getattr(args, "resume", None)
    if resume and (args.algo != ALGO or args.optimize_hyperparameters or args.seed < 0 or args.resume_freq < 1):
        parser.error(f"argument --resume: needs --algo {ALGO}, --seed and --resume-freq from 1 on, no search")
    if args.algo != ALGO:
        return
    args.conf_file = args.conf_file or str(config_file())
    try:
        settings = read_settings(args.conf_file, args.env, args.hyperparams or {})
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    register(settings=settings)
    if resume:  # the Zoo makes the callbacks that the settings name
        kwargs = {"folder": resume, "save_freq": max(args.resume_freq // settings.get("n_envs", 1), 1)}
        others = settings.get("callback") or []
        callbacks = [{f"{ResumableCheckpoint.__module__}.ResumableCheckpoint": kwargs}]
        callbacks += others if isinstance(others, list) else [others]
        args.hyperparams = {**(args.hyperparams or {}), "callback": callbacks}
    if args.optimize_hyperparameters:
        _prepare_search(parser, args, settings)


def _prepare_search(parser: ArgumentParser, args: Namespace, settings: dict[str, Any]) -> None:
    """Say what a search tries, and make or open its study, which the Zoo opens then."""
    names = searched(settings)
    if not names:
        parser.error("nothing to search: the settings fix all of it; leave out of them what is to be found")
    print(f"Searching {', '.join(names)}; what the settings name stays as it is")
    if args.storage is None:
        os.makedirs(args.log_folder, exist_ok=True)
        args.storage = f"sqlite:///{args.log_folder}/search_{time.strftime('%Y%m%d_%H%M%S')}_{os.getpid()}.db"
    elif args.storage.endswith(".log"):  # its lock points to this name; one left by a killed process must be found
        args.storage = str(Path(args.storage).absolute())
    args.study_name = prepare_study(args.storage, args.study_name, names)
    again = shlex.join(["--storage", args.storage, "--study-name", args.study_name])
    print(f"To go on with this search: {again}")


def _prepare_replay(parser: ArgumentParser, args: Namespace) -> None:
    for package in args.gym_packages:
        importlib.import_module(package)  # the Zoo's record_video does not
    register(SimpleNamespace(load=partial(FlowSAC.load, **WITHOUT_MEMORY)))  # as the Zoo loads the algorithms it knows
    if args.exp_id == 0 and "rl-trained-agents" not in args.folder:  # from there the Zoo would download
        args.exp_id = _latest_run(parser, args)
    if hasattr(args, "output_folder"):  # record_video forgets the env_kwargs of the settings
        run = Path(args.folder, args.algo, f"{args.env}_{args.exp_id}" if args.exp_id > 0 else "", args.env)
        args.env_kwargs = {**get_saved_hyperparams(str(run))[0].get("env_kwargs", {}), **(args.env_kwargs or {})}
    elif not (args.no_render or has_display()):
        print("No display: nothing is drawn; flowsac record makes a video")
        args.no_render = True


def _check_window(parser: ArgumentParser, args: Namespace) -> None:
    """The Zoo would draw nothing of runs with fewer episodes than it averages over."""
    folder = Path(args.exp_folder, args.algo)
    runs = [str(run) for run in folder.iterdir() if any(env in run.name for env in args.env)]
    longest = max((len(load_results(run)) for run in runs if get_monitor_files(run)), default=0)
    if longest < args.episode_window:
        parser.error(
            f"argument -w/--episode-window: {args.episode_window} episodes are averaged, and the longest run of "
            f"{' or '.join(args.env)} in {folder} has {longest}"
        )


def _latest_run(parser: ArgumentParser, args: Namespace) -> int:
    """The latest run with the model asked for: an unfinished run or a search leaves a folder without one."""
    folder, choice = Path(args.folder, args.algo), (args.load_best, args.load_checkpoint, args.load_last_checkpoint)
    for run in range(get_latest_run_id(str(folder), args.env), 0, -1):
        with suppress(AssertionError, ValueError):
            get_model_path(run, args.folder, args.algo, args.env, *choice)
            return run
    hint = f"first: flowsac train --algo {args.algo} --env {args.env}"
    parser.error(f"argument -f/--folder: no saved model of {args.algo} on {args.env} in {folder}; {hint}")
