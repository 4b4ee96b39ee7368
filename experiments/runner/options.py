"""Options that the experiments' command lines share, and how they run tasks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.runner.ray import ray_backend
from experiments.runner.tasks import Backend, Result, Task, run_tasks


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


def chosen_backend(options: argparse.Namespace) -> int | Backend:
    """
    What ``run_tasks`` takes as ``jobs``.

    :param options: of the command line
    """
    return int(options.jobs) if options.backend == "local" else ray_backend(options.address)


def run(tasks: Sequence[Task], options: argparse.Namespace) -> list[Result]:
    """
    Results of tasks, in their order; kept ones are read, the others computed.

    :param tasks: the tasks
    :param options: of the command line
    """
    return run_tasks(tasks, options.out, chosen_backend(options), Console())
