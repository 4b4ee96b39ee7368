"""The paper's case study, ``flowsac lqr --full``: Figures 1 and 2 with numbers, and a Gaussian SAC beside the flow."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from scipy import stats

import maxent_envs
from maxent_envs import LQRProblem, LQRSolution
from sb3_flowsac.studies.lqr.full_plots import save_full_plots
from sb3_flowsac.studies.lqr.growing import run_growing
from sb3_flowsac.studies.lqr.limits import run_zero_temperature
from sb3_flowsac.studies.lqr.models import CLASSES, MODELS
from sb3_flowsac.studies.lqr.report import (
    growing_table,
    robustness_table,
    spi_table,
    summary_table,
    write_report,
    write_summary,
    zero_temperature_table,
)
from sb3_flowsac.studies.lqr.robustness import SavedModel, Source, run_robustness
from sb3_flowsac.studies.lqr.spi import run_spi
from sb3_flowsac.studies.lqr.study import run_specs
from sb3_flowsac.studies.lqr.training import RunSpec
from sb3_flowsac.studies.tasks import Result, run_tasks, write_json
from sb3_flowsac.studies.theorem2 import run_theorem2

ALPHAS = (0.1, 0.5, 1.0, 2.0)
SEEDS = (0, 1, 2, 3, 4)
CONFIDENCE = 0.95
METRICS = ("mean_error", "cov_error", "return_error", "soft_gap")
DIAGONAL = "best diagonal Gaussian"


def run_full(
    *,
    alphas: Sequence[float] = ALPHAS,
    seeds: Sequence[int] = SEEDS,
    out: Path,
    problem: LQRProblem | None = None,
    timesteps: int | None = None,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """
    Train FlowSAC (Algorithm 2) and two Gaussian SACs for each temperature and seed; write figures, tables, a report.

    The Gaussian SACs are Stable-Baselines3's with its defaults, and with FlowSAC's settings and critic; all have the same
    environment steps and gradient steps. Runs whose results an earlier start has left in ``out`` are not repeated.

    Writes to ``out``: what ``run_study`` writes of each run, ``results.json`` (every run), ``summary.json``,
    ``summary.csv`` and ``summary.md`` (means over seeds with confidence intervals), pictures and ``report.md``.

    :param alphas: temperatures, positive
    :param seeds: seeds, not negative, at least two
    :param out: folder for the results, made if needed
    :param problem: the problem to learn; default the default preset of ``maxent_envs``
    :param timesteps: environment steps of a run; what the settings are made for if ``None``
    :param jobs: number of runs at the same time, each in a process of its own if more than one
    :return: the rows of the summary
    :raises ValueError: if an argument is out of range
    """
    problem = maxent_envs.preset() if problem is None else problem
    out = Path(out)
    specs = run_specs(list(MODELS), problem, alphas, seeds, timesteps, out, jobs)
    if len({spec.seed for spec in specs}) < 2:
        raise ValueError(f"seeds={list(seeds)} must be at least two: one has no confidence interval")
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    results = run_tasks([spec.task() for spec in specs], out, jobs, console)
    write_json(out / "results.json", [result["row"] for result in results])
    summary = summarize(problem, results)
    write_summary(summary, out)
    save_full_plots(problem, results, summary, out)
    parts = {**_case_study_parts(summary), **_further_parts(problem, specs, out, jobs)}
    report = write_report(parts, shlex.join(["flowsac", *sys.argv[1:]]), out)
    console.print(f"Report: {report}")
    return summary


def _case_study_parts(summary: Sequence[dict[str, Any]]) -> dict[str, str]:
    runs = next(row for row in summary if row["algorithm"] == "flowsac")
    budget = f"{runs['timesteps']:,.0f} environment steps, {runs['updates']:,.0f} gradient steps and {runs['seeds']} seeds"
    figure_1 = f"A run of FlowSAC has {budget}. Mean over seeds, band from the lowest to the highest; dashed: the optimum."
    figure_2 = (
        "Dots: averages over visited states and seeds; bars: standard deviation over states; grey: what sampling leaves. "
        "Gaussian SAC is Stable-Baselines3's, with its defaults and with FlowSAC's settings and critic, on the same "
        "environment steps and gradient steps."
    )
    return {
        "Errors": f"Means over seeds with 95% confidence intervals.\n\n{summary_table(summary)}",
        "Figure 1: returns in training": f"{figure_1}\n\n![](figure_1.png)",
        "Figure 2: distance from the optimum's distribution": f"{figure_2}\n\n![](figure_2.png)",
        "What a diagonal covariance gives away": "![](gaussian_gap.png)",
        "Action distributions": "![](action_distributions.png)",
    }


def _further_parts(problem: LQRProblem, specs: Sequence[RunSpec], out: Path, jobs: int) -> dict[str, str]:
    alphas, seeds = list(dict.fromkeys(spec.alpha for spec in specs)), list(dict.fromkeys(spec.seed for spec in specs))
    spi = run_spi(problem=problem, alphas=alphas, seeds=seeds, out=out, jobs=jobs)
    cold = run_zero_temperature(problem=problem, timesteps=specs[0].timesteps, out=out, jobs=jobs)
    first = [spec for spec in specs if spec.seed == seeds[0]]
    policies: dict[str, Source] = {
        f"{spec.algorithm}, alpha {spec.alpha:g}": SavedModel(spec.model, CLASSES[spec.algorithm]) for spec in first
    }
    policies |= {f"optimum, alpha {alpha:g}": problem.solve(alpha) for alpha in alphas}
    robust = run_robustness(policies=policies, problem=problem, out=out, jobs=jobs)
    growing = run_growing(timesteps=specs[0].timesteps, out=out, jobs=jobs)
    run_theorem2(out=out, jobs=jobs)
    return {
        "Algorithm 1: soft policy iteration with exact Q": f"{spi_table(spi)}\n\n![](spi.png)",
        "Towards zero temperature": f"{zero_temperature_table(cold)}\n\n![](zero_temperature.png)",
        "Loss of return under disturbances": f"{robustness_table(robust)}\n\n![](robustness.png)",
        "Growing systems": f"{growing_table(growing)}\n\n![](growing.png)",
        "Theorem 2: distance against samples": "![](theorem2.png)",
    }


def summarize(problem: LQRProblem, results: Sequence[Result]) -> list[dict[str, Any]]:
    """
    Means over seeds with confidence intervals, and the best diagonal Gaussian in closed form.

    :param problem: what the runs have learnt
    :param results: what ``training.execute`` has found
    :return: a row for each temperature and algorithm: the mean of each of ``METRICS`` over seeds, ``NAME_ci`` half the
        width of its 95% confidence interval (Student's t), the number of seeds and the mean seconds of a run
    """
    groups: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for result in results:
        row = result["row"]
        relative = abs(row["return"] - row["optimal_return"]) / abs(row["optimal_return"])
        groups.setdefault((row["alpha"], row["algorithm"]), []).append({**row, "return_error": relative})
    horizon = results[0]["row"]["horizon"]
    summary = [_summary_row(alpha, algorithm, rows) for (alpha, algorithm), rows in groups.items()]
    closed = [best_diagonal_row(problem.solve(alpha), horizon) for alpha in dict.fromkeys(alpha for alpha, _ in groups)]
    return sorted([*summary, *closed], key=lambda row: row["alpha"])


def _summary_row(alpha: float, algorithm: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {"alpha": alpha, "algorithm": algorithm, "seeds": len(rows)}
    width = stats.t.ppf(0.5 * (1.0 + CONFIDENCE), len(rows) - 1) / np.sqrt(len(rows))
    for name in METRICS:
        values = [row[name] for row in rows]
        summary[name], summary[f"{name}_ci"] = float(np.mean(values)), float(width * np.std(values, ddof=1))
    summary["return_error_se"] = max(row["return_se"] / abs(row["optimal_return"]) for row in rows)
    for name in ("mean_floor", "cov_floor", "clip_fraction", "timesteps", "updates", "seconds"):
        summary[name] = float(np.mean([row[name] for row in rows]))
    return summary


def best_diagonal_row(solution: LQRSolution, horizon: int) -> dict[str, Any]:
    """
    The best that a diagonal Gaussian can do, in closed form: K* and Sigma_ii = alpha / (2 G_ii).

    On the infinite horizon its standard return is exactly the optimum's; its soft return is lower by
    alpha / (2 (1 - gamma)) log(prod_i G_ii / det G).

    :param solution: the optimum
    :param horizon: number of steps over which returns are taken
    :return: a row as those of the summary
    """
    # G = alpha/2 Sigma^-1, so alpha / (2 G_ii) = 1 / (Sigma^-1)_ii
    Sigma = np.diag(1.0 / np.diag(np.linalg.inv(solution.Sigma)))
    diagonal = solution.problem.evaluate(solution.alpha, solution.K, Sigma)
    optimal = solution.expected_return(horizon)
    return {
        "alpha": solution.alpha,
        "algorithm": DIAGONAL,
        "mean_error": 0.0,
        "cov_error": float(np.linalg.norm(Sigma - solution.Sigma, ord=2) / np.linalg.norm(solution.Sigma, ord=2)),
        "return_error": abs(diagonal.expected_return(horizon) - optimal) / abs(optimal),
        "soft_gap": solution.expected_soft_return(horizon) - diagonal.expected_soft_return(horizon),
    }
