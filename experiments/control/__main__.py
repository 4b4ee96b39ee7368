"""
A matrix of algorithms, environments and seeds: each cell is one training in a folder of its own.

Cells that are finished are kept and not run again; an interrupted one goes on from its last checkpoint when the same
command is started again.

    pip install -e ".[mujoco,box2d,bench]"
    python -m experiments.control --algo flowsac sac --env HalfCheetah-v5 Hopper-v5 --seed 0 1 --jobs 2
    python -m experiments.control --algo flowsac sac --env HalfCheetah-v5 Hopper-v5 --seed 0 1 --status
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import product

import pandas as pd
from rich.console import Console

from experiments.control.cells import Cell, cell
from experiments.runner.algorithms import ALGORITHMS
from experiments.runner.kept import kept_results
from experiments.runner.options import command_line, run
from experiments.runner.tables import table_of
from experiments.runner.tasks import OtherStudyError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_line(__doc__, "experiments/results/control")
    parser.add_argument("--algo", nargs="+", choices=list(ALGORITHMS), default=["flowsac", "sac"], help="algorithms")
    parser.add_argument("--env", nargs="+", default=["HalfCheetah-v5", "Hopper-v5"], help="environments")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1], help="random seeds")
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps of each run")
    parser.add_argument("--eval-freq", type=int, default=5_000, help="environment steps between evaluations")
    parser.add_argument("--eval-episodes", type=int, default=5, help="episodes of each evaluation")
    parser.add_argument("--save-freq", type=int, default=10_000, help="environment steps between checkpoints")
    parser.add_argument("--status", action="store_true", help="run nothing, show how far each cell is")
    return parser


def matrix(arguments: argparse.Namespace) -> list[Cell]:
    """All cells that the command line asks for: by seed, then algorithm, then environment."""
    return [
        cell(
            algo,
            env,
            seed,
            arguments.steps,
            arguments.eval_freq,
            arguments.eval_episodes,
            arguments.save_freq,
            arguments.out,
        )
        for seed, algo, env in product(arguments.seed, arguments.algo, arguments.env)
    ]


def show_status(cells: Sequence[Cell], console: Console) -> None:
    """Print how far each cell has come, at the time of its last evaluation, and its processor hours."""
    rows = []
    for task in cells:
        path = task.folder / "evaluations.csv"
        if not path.exists():
            rows.append([task.name, "0%"])
            continue
        last = pd.read_csv(path).iloc[-1]
        done, returns = last["steps"] / task.settings["steps"], last.filter(like="return_")
        hours = last["processor_seconds"] / 3600
        rows.append([task.name, f"{done:.0%}", f"{hours:.2f}", f"{hours / done - hours:.2f}", f"{returns.mean():.0f}"])
    headings = ("cell", "done", "processor hours", "hours to go", "return of the last evaluation")
    console.print(table_of("Cells", headings, rows))


def main() -> None:
    """Run the matrix."""
    arguments = parser().parse_args()
    console = Console()
    try:
        cells = matrix(arguments)
    except ValueError as error:
        parser().error(str(error))
    if arguments.status:
        show_status(cells, console)
        return
    try:
        run(cells, arguments)
    except OtherStudyError as error:
        sys.exit(str(error))
    for task, result in kept_results(cells, arguments.out, console):
        print(f"{task.name}: return {result['final_return']:.1f}, {result['processor_seconds'] / 3600:.2f} hours")


if __name__ == "__main__":
    main()
