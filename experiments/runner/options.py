"""Options that the experiments' command lines share."""

import argparse
from pathlib import Path

from experiments.runner.ray import ray_backend
from sb3_flowsac.lqr_study.tasks import Backend


def command_line(description: str | None, out: str) -> argparse.ArgumentParser:
    """
    A parser with the options of all experiments that consist of tasks: where results are kept, and what runs them.

    :param description: what the experiment is, shown as it is written
    :param out: default folder of the results
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(out), help=f"folder of the results (default: {out})")
    parser.add_argument("--jobs", type=int, default=1, help="tasks at the same time on this machine")
    parser.add_argument("--backend", choices=("local", "ray"), default="local", help="what runs the tasks")
    parser.add_argument("--address", help="of a Ray cluster, 'auto' for this machine's; default: one that is started")
    return parser


def chosen_backend(arguments: argparse.Namespace) -> int | Backend:
    """
    What ``run_tasks`` takes as ``jobs``.

    :param arguments: of the command line
    """
    return int(arguments.jobs) if arguments.backend == "local" else ray_backend(arguments.address)
