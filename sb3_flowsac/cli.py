"""The command ``flowsac``. What a subcommand needs is imported when it runs, so that the help comes at once."""

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from sb3_flowsac.version import __version__

COMMON_TASKS = """\
common tasks:
  flowsac lqr                            learn a max-entropy LQR and compare with its known optimum (minutes)
  flowsac lqr --problem my_lqr.yml       the same for a system of your own
  flowsac train --env Pendulum-v1 -P     train on an environment with the RL Zoo
  flowsac enjoy --env Pendulum-v1        watch the model that train has saved
"""
ZOO_COMMANDS = {
    "train": "train with the RL Zoo; every option of its train is accepted",
    "enjoy": "replay a trained model with the RL Zoo; every option of its enjoy is accepted",
}


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
    run_lqr(parser, parser.parse_args(arguments))
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
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    add_lqr(commands.add_parser("lqr", help="learn a max-entropy LQR and compare with its known optimum"))
    for command, summary in ZOO_COMMANDS.items():
        commands.add_parser(command, help=summary, add_help=False)
    return parser


def add_lqr(parser: argparse.ArgumentParser) -> None:
    """
    Declare the options of ``flowsac lqr``.

    :param parser: parser of the subcommand
    """
    parser.description = "Train FlowSAC on MaxEntLQR-v0 for each temperature and seed, and compare with the known optimum."
    parser.add_argument(
        "--alpha", type=positive_float, nargs="+", default=[0.1, 0.5], help="temperatures, a run for each (default: 0.1 0.5)"
    )
    parser.add_argument("--seed", type=seed, nargs="+", default=[0], help="random seeds, a run for each (default: 0)")
    system = parser.add_mutually_exclusive_group()
    system.add_argument("--preset", metavar="NAME", help="a system of the package: default, scalar, unstable or six-state")
    system.add_argument("--problem", type=existing_file, metavar="FILE", help="a system of your own: YAML, JSON or NPZ")
    parser.add_argument(
        "--timesteps", type=positive_int, metavar="N", help="steps of a run (default: what the study is tuned for)"
    )
    parser.add_argument("--jobs", type=positive_int, default=1, metavar="N", help="runs at the same time (default: 1)")
    parser.add_argument(
        "--out", type=folder, default=Path("flowsac_lqr"), metavar="DIR", help="folder for the results (default: flowsac_lqr)"
    )


def run_lqr(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """
    Run ``flowsac lqr``.

    :param parser: parser that ends the command if the options name no valid problem
    :param options: parsed options
    """
    check_system(parser, options)
    from sb3_flowsac.studies.lqr.study import run_study

    run_study(
        alphas=options.alpha,
        seeds=options.seed,
        preset=options.preset,
        problem_file=options.problem,
        timesteps=options.timesteps,
        jobs=options.jobs,
        out=options.out,
    )


def check_system(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """
    End the command with a message if the system to learn is unknown or no valid problem.

    :param parser: parser that ends the command
    :param options: parsed options
    """
    from maxent_envs import load_problem, preset

    for argument, load, name in (("--preset", preset, options.preset), ("--problem", load_problem, options.problem)):
        try:
            if name is not None:
                load(name)
        except ValueError as error:
            parser.error(f"argument {argument}: {error}")


def run_zoo(command: str, arguments: Sequence[str]) -> None:
    """
    Hand over to the RL Zoo, or say how to install it.

    :param command: a key of ``ZOO_COMMANDS``
    :param arguments: arguments for the Zoo
    """
    missing = [module for module in ("rl_zoo3", "requests") if importlib.util.find_spec(module) is None]
    if missing:
        sys.exit(
            f"flowsac {command}: this needs the RL Zoo ({' and '.join(missing)} not installed)\n"
            'install it with: pip install "sb3-flowsac[zoo]"'
        )
    from sb3_flowsac import zoo

    hand_over: dict[str, Callable[[Sequence[str]], None]] = {"train": zoo.train, "enjoy": zoo.enjoy}
    hand_over[command](arguments)


def positive_float(text: str) -> float:
    """
    Read a positive, finite number.

    :param text: what the user wrote
    :return: its value
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def positive_int(text: str) -> int:
    """
    Read a whole number of at least 1.

    :param text: what the user wrote
    :return: its value
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """
    Read a random seed.

    :param text: what the user wrote
    :return: its value
    """
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def existing_file(text: str) -> Path:
    """
    Read the path of a file that exists.

    :param text: what the user wrote
    :return: its path
    """
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"no such file: {text!r}")
    return Path(text)


def folder(text: str) -> Path:
    """
    Read the path of a folder that exists or can be made.

    :param text: what the user wrote
    :return: its path
    """
    path = Path(text)
    blocking = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None)
    if blocking is not None:
        raise argparse.ArgumentTypeError(f"{str(blocking)!r} is a file, a folder is needed")
    return path
