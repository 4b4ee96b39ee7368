"""
FlowSAC beside SB3's SAC and sb3-contrib's TQC where the right policy has several modes or no Gaussian shape.

BoltzmannBandit-v0: one step, the optimum is the target itself; every built-in target and one of the benchmark's own
("crescents"). The figure is KL(pi || target) in nats by exact densities. MultiGoal-v0: four equal goals; the figure is
the share of 400 episodes from the centre to each. All arguments are the algorithms' defaults but temperature and
discount, which belong to the problem: temperature 0.1 for the targets, 1 with discount 0.99 for the goals.

Each run is on one thread. Finished runs are kept in the folder and not run again; tables and pictures show
all that are there and of the same steps.

    python -m experiments.distributions.multimodal                                 # everything, three seeds
    python -m experiments.distributions.multimodal --task ring multigoal --algo flowsac --seed 0
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.distributions.multimodal import bandits, multigoal, pictures
from experiments.distributions.multimodal.peers import NAMES, available
from experiments.distributions.multimodal.summary import KL_GOAL, page
from experiments.runner.kept import kept_results
from experiments.runner.options import command_line, run
from experiments.runner.tasks import Result, Task, write_json, write_text
from experiments.runner.versions import machine, versions
from sb3_flowsac.plotting import save_figure

MULTIGOAL = "multigoal"
TASKS = [*bandits.OWN, MULTIGOAL]
README = "ring", "rotating_mixture"  # targets of README's picture
PICTURES = "actions", "paths", "state"  # what of a result is for figures alone


def tasks(
    names: Iterable[str], algos: Iterable[str], seeds: Iterable[int], arguments: argparse.Namespace
) -> list[Task]:
    """Runs in the order in which they are started: all of one seed first."""
    found = []
    for seed in seeds:
        for algo in algos:
            for name in names:
                settings: dict[str, Any] = {"algo": algo, "seed": seed}
                if name == MULTIGOAL:
                    settings |= {"steps": arguments.goal_steps}
                else:
                    settings |= {"target": name, "steps": arguments.bandit_steps}
                function = multigoal.train if name == MULTIGOAL else bandits.train
                found.append(Task(f"runs/{name}-{algo}-{seed}", function, settings, settings))
    return found


def publish(results: list[tuple[Task, Result]], out: Path) -> None:
    """Write figures, tables and pictures to the folder, and print the tables."""
    of_targets: pictures.Runs = defaultdict(dict)
    of_goals: dict[str, dict[int, Result]] = defaultdict(dict)
    for task, result in sorted(results, key=lambda pair: TASKS.index(pair[0].settings.get("target", MULTIGOAL))):
        algo, seed = task.settings["algo"], task.settings["seed"]
        of = of_targets[task.settings["target"], algo] if "target" in task.settings else of_goals[algo]
        of[seed] = result
    rows = [{**task.settings, **{k: v for k, v in result.items() if k not in PICTURES}} for task, result in results]
    write_json(out / "results.json", {"versions": versions(), "machine": machine(), "runs": rows})
    write_text(out / "report.md", page(of_targets, of_goals))
    if of_targets:
        save_figure(pictures.density_figure(of_targets), out / "densities.png")
        if shown := {key: seeds for key, seeds in of_targets.items() if key[0] in README}:
            save_figure(pictures.density_figure(shown), out / "modes.png")
        save_figure(pictures.progress_figure(of_targets, KL_GOAL), out / "progress.png")
    if of_goals:
        save_figure(pictures.rollouts_figure(of_goals), out / "rollouts.png")
    print(page(of_targets, of_goals))


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, "multimodal")
    parser.add_argument("--task", nargs="+", choices=TASKS, default=TASKS, help="targets, and multigoal")
    parser.add_argument("--algo", nargs="+", choices=list(NAMES), default=list(NAMES), help="what to train")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2], help="random seeds")
    parser.add_argument("--bandit-steps", type=int, default=40_000, help="environment steps of a run on a target")
    parser.add_argument("--goal-steps", type=int, default=20_000, help="environment steps of a run on MultiGoal-v0")
    arguments = parser.parse_args()
    algos = [algo for algo in arguments.algo if algo in available()]
    for algo in set(arguments.algo) - set(algos):
        print(f"{NAMES[algo]} is left out: sb3-contrib is not installed")
    out: Path = arguments.out
    run(tasks(arguments.task, algos, arguments.seed, arguments), arguments)
    seeds = sorted({int(path.stem.rpartition("-")[2]) for path in out.glob("runs/*.json")})
    publish(kept_results(tasks(TASKS, NAMES, seeds, arguments), out, Console()), out)


if __name__ == "__main__":
    main()
