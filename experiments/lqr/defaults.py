"""What network critics learn of a max-entropy LQR: with the algorithms' own defaults, and with other critics."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.lqr.algorithms import FLOWSAC_DEFAULT, FLOWSAC_NETWORK, SAC_DEFAULT, run_task
from experiments.lqr.training_log import BRIEF_EVALUATION
from experiments.runner.arguments import distinct, distinct_seeds
from experiments.runner.tables import table_of
from experiments.runner.tasks import Backend, Result, run_tasks, write_json
from experiments.runner.versions import machine, versions
from maxent_envs import LQRProblem
from sb3_flowsac.checks import integer, positive
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.lqr_study.training import FINAL_EVALUATION, TIMESTEPS, RunSpec, execute
from sb3_flowsac.lqr_study.verdict import percent, short

NETWORK_CRITICS = {algorithm.name: algorithm for algorithm in (FLOWSAC_DEFAULT, FLOWSAC_NETWORK, SAC_DEFAULT)}


def run_defaults(
    *,
    problem: LQRProblem,
    alphas: Sequence[float] = (0.1, 0.5),
    seeds: Sequence[int] = (0,),
    algorithms: Sequence[str] = tuple(NETWORK_CRITICS),
    out: Path,
    timesteps: int = TIMESTEPS,
    evaluation: EvaluationSettings = FINAL_EVALUATION,
    jobs: int | Backend = 1,
    command: str = "",
) -> list[Result]:
    """
    FlowSAC and SAC with their defaults, but for the problem's gamma and the fixed temperature, and FlowSAC with
    ``NETWORK``.

    Writes ``defaults.json`` to ``out``, keeps each run under ``defaults``, prints a table.

    :param problem: the problem
    :param alphas: temperatures, positive
    :param seeds: seeds, not negative
    :param algorithms: keys of ``NETWORK_CRITICS``
    :param out: folder for the results, made if needed
    :param timesteps: environment steps of a run
    :param evaluation: size of the comparison with the optimum
    :param jobs: number of runs at the same time
    :param command: the command line to name in the results
    :return: the entry of the study's ``results.json`` for each run
    :raises ValueError: if an argument is out of range
    """
    steps, folder = integer("timesteps", timesteps, 1), Path(out) / "defaults"
    settings = {"evaluation": evaluation, "curve_evaluation": BRIEF_EVALUATION}
    specs = [
        RunSpec(problem, alpha, seed, steps, folder, algorithm.name, algorithm.make, **settings)
        for algorithm in (NETWORK_CRITICS[name] for name in algorithms)
        for alpha in distinct("alphas", alphas, positive)
        for seed in distinct_seeds(seeds)
    ]
    console = Console()
    tasks = [run_task(f"runs/{spec.name}/result", execute, spec) for spec in specs]
    rows = [result["row"] for result in run_tasks(tasks, folder, jobs, console)]
    content = {"command": command, "versions": versions(), "machine": machine(), "runs": rows}
    write_json(Path(out) / "defaults.json", content)
    cells = [
        [
            row["algorithm"],
            f"{row['alpha']:g}",
            str(row["seed"]),
            percent(row["mean_error"]),
            percent(row["cov_error"]),
            f"{short(row['return'])} ({short(row['optimal_return'])})",
        ]
        for row in rows
    ]
    headings = ("algorithm", "alpha", "seed", "mean error", "covariance error", "return (optimal)")
    console.print(table_of(f"Defaults, {steps:,} steps", headings, cells))
    return rows
