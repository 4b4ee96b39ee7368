"""
Fits of FlowSAC's actor to targets whose density is known, without reinforcement learning.

Q(s, a) = alpha log p(a|s) is given exactly, so that the best policy is p and its log Z is 0. Methods:

    isfm       FlowSAC's improvement step with all arguments at their defaults
    true       the same actor trained on 16 true samples of p in each state: the limit of what ISFM can reach
    sac        the actor of SB3's SAC (a squashed Gaussian, reparameterised, 16 samples in each state)
    sac_fast   the same with a learning rate of 1e-3
    isfm_32    isfm with 32 proposals
    newton, policy, ...    isfm with the sampling distribution of that name

Each run is on one thread. Finished runs are kept in the folder and not run again; tables and pictures show all that are
there.

    python -m experiments.distributions.static_targets                                       # isfm and true, 3 seeds
    python -m experiments.distributions.static_targets --target ring --method isfm sac --seed 0
    python -m experiments.distributions.static_targets --method policy --updates 50 200 --out short
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.distributions.static_targets.cases import CASES
from experiments.distributions.static_targets.fits import METHODS
from experiments.distributions.static_targets.goals import Row
from experiments.distributions.static_targets.plots import density_figure, kl_figure
from experiments.distributions.static_targets.report import report
from experiments.distributions.static_targets.runs import tasks
from experiments.runner.kept import kept_results
from experiments.runner.options import command_line, run
from experiments.runner.tasks import Result, Task, write_json, write_text
from experiments.runner.versions import machine, versions
from sb3_flowsac.plotting import save_figure


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, "static_targets")
    parser.add_argument("--target", nargs="+", choices=list(CASES), default=list(CASES), help="what to fit")
    parser.add_argument(
        "--method", nargs="*", choices=list(METHODS), default=["isfm", "true"], help="how; none: only report"
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2], help="random seeds")
    parser.add_argument(
        "--updates", type=int, nargs="+", help="when to measure; default up to 6000, fewer for some targets"
    )
    arguments = parser.parse_args()
    out: Path = arguments.out
    chosen = tasks(arguments.target, arguments.method, arguments.seed, arguments.updates)
    run(chosen, arguments)
    seeds = sorted({int(path.stem.rpartition("-")[2]) for path in out.glob("runs/*/*.json")})
    everything = tasks(list(CASES), list(METHODS), seeds, arguments.updates)
    publish(kept_results(everything, out, Console()), out)


def publish(results: list[tuple[Task, Result]], out: Path) -> None:
    """Write figures, tables and pictures to a folder, and print the tables."""
    runs: dict[tuple[str, str], dict[int, list[Row]]] = defaultdict(dict)
    densities: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for task, result in results:
        target, method, seed = (task.settings[key] for key in ("target", "method", "seed"))
        runs[target, method][seed] = result["rows"]
        if result["densities"]:
            pictures = {name: np.array(values) for name, values in result["densities"].items()}
            densities[target].setdefault("target", pictures["target"])
            densities[target].setdefault(method, pictures["learnt"])
    rows = [{**task.settings, "rows": result["rows"]} for task, result in results]
    write_json(out / "results.json", {"versions": versions(), "machine": machine(), "runs": rows})
    write_text(out / "report.md", report(runs))
    save_figure(kl_figure(runs, "updates", "updates"), out / "kl_updates.png")
    save_figure(kl_figure(runs, "processor_seconds", "processor time (s)"), out / "kl_time.png")
    if densities:
        save_figure(density_figure(densities), out / "densities.png")
    print(report(runs))


if __name__ == "__main__":
    main()
