"""The command ``flowsac``. What a subcommand needs is imported when it runs, so that the help comes at once."""

import argparse
import importlib.util
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shtab

from sb3_flowsac.cli_types import (
    existing_file,
    file_or_folder,
    folder,
    keyword,
    output_file,
    positive_float,
    positive_int,
    seed,
)
from sb3_flowsac.version import __version__

if TYPE_CHECKING:
    from maxent_envs import LQRProblem
    from sb3_flowsac.algorithm import FlowPolicy, FlowSAC

COMMON_TASKS = """\
common tasks:
  flowsac lqr                            learn a max-entropy LQR and compare with its known optimum (minutes)
  flowsac lqr --problem my_lqr.yml --out my_lqr   the same for a system of your own
  flowsac train --env Pendulum-v1 -P     train on an environment with the RL Zoo
  flowsac enjoy --env Pendulum-v1        watch the model that train has saved
  flowsac record --env MultiGoal-v0      or a video of one
  flowsac show pendulum.zip              pictures of a saved model's policy
  flowsac export pendulum.zip pendulum.onnx --deterministic   its policy for programs without torch
"""
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C has ended
ZOO_COMMANDS = {
    "train": "train with the RL Zoo; every option of its train is accepted",
    "tune": "search for hyperparameters with the RL Zoo and Optuna; every option of its train is accepted",
    "enjoy": "replay a trained model with the RL Zoo; every option of its enjoy is accepted",
    "plot": "draw the RL Zoo's plots of runs: plot_train, all_plots or plot_from_file",
    "record": "record a video of a trained model; every option of the RL Zoo's record_video is accepted",
}
# Modules of the extra "zoo" that a subcommand needs beyond those that all need
ZOO_MODULES = {"plot": ["seaborn"], "record": ["moviepy"]}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    :param argv: arguments; those of the process if None
    :return: exit code
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in ZOO_COMMANDS:
        run_zoo(arguments[0], arguments[1:])  # before any parsing: the arguments are the Zoo's to read
        return 0
    parser = build_parser()
    if not arguments:
        parser.print_help()
        return 0
    options = parser.parse_args(arguments)
    if options.command == "lqr":
        return lqr(parser, options, shlex.join(["flowsac", *arguments]))
    {"show": run_show, "export": run_export}[options.command](parser, options)
    return 0


def lqr(parser: argparse.ArgumentParser, options: argparse.Namespace, command: str) -> int:
    """Run the study; Ctrl-C ends it with a word on how to go on."""
    try:
        run_lqr(parser, options, command)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted. Finished runs, and of the others the latest checkpoints, are in "
            f"{results_folder(options)}. "
            f"To go on from there, the same command:\n  {command}",
            file=sys.stderr,
        )
        return INTERRUPTED
    return 0


def build_parser() -> argparse.ArgumentParser:
    """
    Build the parser of every subcommand but the Zoo's, which it only lists.

    :return: the parser
    """
    parser = argparse.ArgumentParser(
        prog="flowsac",
        description="Soft actor-critic with flow-matching policies for Stable-Baselines3.\n\n" + COMMON_TASKS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flowsac {__version__}")
    shtab.add_argument_to(parser, help="print the completion for a shell, see docs/install.md")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    add_lqr(commands.add_parser("lqr", help="learn a max-entropy LQR and compare with its known optimum"))
    add_show(commands.add_parser("show", help="draw a saved model's policy"))
    add_export(commands.add_parser("export", help="write a saved model's policy in ONNX"))
    for command, summary in ZOO_COMMANDS.items():
        commands.add_parser(command, help=summary, add_help=False)
    return parser


def add_lqr(parser: argparse.ArgumentParser) -> None:
    """
    Declare the options of ``flowsac lqr``.

    :param parser: parser of the subcommand
    """
    parser.description = (
        "Train FlowSAC on MaxEntLQR-v0 for each temperature and seed, and compare with the known optimum. "
        "A run whose result is kept in DIR is not repeated: the same command goes on where an earlier one has ended."
    )
    parser.add_argument(
        "--alpha",
        type=positive_float,
        nargs="+",
        help="temperatures (default: 0.1 0.5)",
    )
    parser.add_argument("--seed", type=seed, nargs="+", help="random seeds (default: 0)")
    system = parser.add_mutually_exclusive_group()
    system.add_argument(
        "--preset", metavar="NAME", help="a system of the package: default, scalar, unstable or six-state"
    )
    file = system.add_argument(
        "--problem", type=existing_file, metavar="FILE", help="a system of your own: YAML, JSON or NPZ"
    )
    file.complete = shtab.FILE  # type: ignore[attr-defined]
    system.add_argument(
        "--random",
        type=seed,
        nargs=3,
        metavar=("STATES", "INPUTS", "SEED"),
        help="a random stabilizable system of a size",
    )
    parser.add_argument(
        "--timesteps", type=positive_int, metavar="N", help="steps of a run (default: what the study is tuned for)"
    )
    parser.add_argument("--jobs", type=positive_int, default=1, metavar="N", help="runs at the same time (default: 1)")
    out = parser.add_argument(
        "--out",
        type=folder,
        metavar="DIR",
        help="folder for the results (default: flowsac_lqr)",
    )
    out.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def run_lqr(parser: argparse.ArgumentParser, options: argparse.Namespace, command: str) -> None:
    """
    Run ``flowsac lqr``.

    :param parser: parser that ends the command if the options name no valid problem
    :param options: parsed options
    :param command: the command line, for the report
    """
    if options.alpha and len({f"{alpha:g}" for alpha in options.alpha}) < len(options.alpha):
        parser.error(
            "argument --alpha: temperatures must differ in their first six digits, by which their runs are named"
        )
    problem = chosen_problem(parser, options)
    arguments: dict[str, Any] = {
        "problem": problem,
        "alphas": options.alpha or [0.1, 0.5],
        "seeds": options.seed or [0],
        "out": results_folder(options),
        "jobs": options.jobs,
    }
    from sb3_flowsac.lqr_study.study import run_study
    from sb3_flowsac.lqr_study.tasks import OtherStudyError

    try:
        run_study(**arguments, timesteps=options.timesteps)
    except OtherStudyError as error:
        parser.error(f"argument --out: {error}")


def results_folder(options: argparse.Namespace) -> Path:
    """
    Where ``flowsac lqr`` writes to.

    :param options: parsed options
    """
    return options.out or Path("flowsac_lqr")


def chosen_problem(parser: argparse.ArgumentParser, options: argparse.Namespace) -> "LQRProblem":
    """
    The system to learn; the command ends with a message if it is unknown or no valid problem.

    :param parser: parser that ends the command
    :param options: parsed options
    """
    from maxent_envs import load_problem, preset, random_problem

    try:
        if options.problem is not None:
            return load_problem(options.problem)
        if options.random is not None:
            return random_problem(*options.random)
        return preset("default" if options.preset is None else options.preset)
    except ValueError as error:
        argument = next((name for name in ("problem", "random") if getattr(options, name) is not None), "preset")
        parser.error(f"argument --{argument}: {error}")


def add_show(parser: argparse.ArgumentParser) -> None:
    """
    Declare the options of ``flowsac show``.

    :param parser: parser of the subcommand
    """
    parser.description = (
        "Pictures of a saved model: the density of its actions in three states, their paths from noise, its importance "
        "weights, the optimum where it is known, and the learning curve if a Monitor's or EvalCallback's files are "
        "beside it."
    )
    add_model(parser)
    parser.add_argument("--env", metavar="ID", help="environment whose states are shown (default: the space's samples)")
    parser.add_argument(
        "--env-kwargs",
        type=keyword,
        nargs="+",
        default=[],
        metavar="NAME:VALUE",
        help="its arguments, such as alpha:0.5 for a model of flowsac lqr",
    )
    parser.add_argument(
        "--out",
        type=folder,
        metavar="DIR",
        help="folder for the pictures (default: one beside MODEL, opened if there is a display)",
    )


def run_show(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """
    Run ``flowsac show``.

    :param parser: parser that ends the command if the model or the environment does not fit
    :param options: parsed options
    """
    from sb3_flowsac.show import LEARNING_CURVE, PAGE, show, states

    if options.env_kwargs and options.env is None:
        parser.error("argument --env-kwargs: there is no environment without --env")
    saved = saved_model(parser, options)
    try:
        obs, task = states(saved, options.env, dict(options.env_kwargs))
    except (ValueError, LookupError, ImportError) as error:
        parser.error(f"argument --env: {error}")
    pictures = show(saved, options.model, obs, task, options.out)
    for picture in pictures:
        print(picture)
    print(f"All on one page: {pictures[0].with_name(PAGE)}")
    if LEARNING_CURVE not in {picture.stem for picture in pictures}:
        print("No learning curve: no file of a Monitor or an EvalCallback lies beside the model")


def add_export(parser: argparse.ArgumentParser) -> None:
    """
    Declare the options of ``flowsac export``.

    :param parser: parser of the subcommand
    """
    parser.description = "Write what predict does as an ONNX file, see export_onnx. It needs the extra export."
    add_model(parser)
    parser.add_argument("out", type=output_file, metavar="OUT", help="the ONNX file, replaced if there is one")
    parser.add_argument(
        "--deterministic", action="store_true", help="predict deterministically, without noise as an input"
    )


def run_export(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """
    Run ``flowsac export``.

    :param parser: parser that ends the command if the model cannot be read
    :param options: parsed options
    """
    from sb3_flowsac.files import export_onnx
    from sb3_flowsac.files.loading import policy_of

    try:
        export_onnx(policy_of(saved_model(parser, options)), options.out, options.deterministic)
    except (ImportError, OSError) as error:
        sys.exit(f"flowsac export: {error}")
    print(options.out)


def add_model(parser: argparse.ArgumentParser) -> None:
    """
    Declare the argument that names a saved model.

    :param parser: parser of the subcommand
    """
    parser.add_argument(
        "model",
        type=file_or_folder,
        metavar="MODEL",
        help="a zip file of FlowSAC.save (it holds pickles: only one that you trust), or a folder of save_policy",
    )


def saved_model(parser: argparse.ArgumentParser, options: argparse.Namespace) -> "FlowSAC | FlowPolicy":
    """
    What the argument MODEL names; the command ends with a message if it is no model of this package.

    :param parser: parser that ends the command
    :param options: parsed options
    """
    from sb3_flowsac.files.loading import load_saved

    try:
        return load_saved(options.model)
    except Exception as error:  # whatever is in the file
        parser.error(f"argument MODEL: {options.model} cannot be loaded: {type(error).__name__}: {error}")


def run_zoo(command: str, arguments: Sequence[str]) -> None:
    """
    Hand over to the RL Zoo, or say how to install it.

    :param command: a key of ``ZOO_COMMANDS``
    :param arguments: arguments for the Zoo
    """
    needed = ["rl_zoo3", "requests", "psutil", *ZOO_MODULES.get(command, [])]
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        sys.exit(
            f"flowsac {command}: this needs the RL Zoo ({' and '.join(missing)} not installed)\n"
            'install it with: pip install "sb3-flowsac[zoo]"'
        )
    from sb3_flowsac import zoo

    verb: Callable[[Sequence[str]], None] = getattr(zoo, command)
    verb(arguments)
