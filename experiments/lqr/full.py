"""The paper's case study: Figures 1 and 2 with numbers, and a Gaussian SAC beside the flow."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from scipy import stats

import maxent_envs
from experiments.lqr.algorithms import ALGORITHMS, OF_CASE_STUDY, SAC_DEFAULT, run_task
from experiments.lqr.full_plots import save_full_plots
from experiments.lqr.growing import run_growing
from experiments.lqr.report import (
    growing_table,
    problem_text,
    robustness_table,
    spi_table,
    summary_table,
    theorem2_text,
    write_report,
    write_summary,
    zero_temperature_table,
)
from experiments.lqr.robustness import SavedModel, Source, run_robustness
from experiments.lqr.spi import run_spi
from experiments.lqr.zero_temperature import run_zero_temperature
from experiments.runner.arguments import distinct, distinct_seeds
from experiments.runner.tasks import Backend, Result, run_tasks, write_json
from experiments.theory.theorem2 import run_theorem2
from maxent_envs import LQRProblem, LQRSolution
from sb3_flowsac.checks import integer, positive
from sb3_flowsac.lqr_study.training import TIMESTEPS, RunSpec, execute

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
    jobs: int | Backend = 1,
    command: str | None = None,
) -> list[dict[str, Any]]:
    """
    Train FlowSAC (Algorithm 2) and two Gaussian SACs for each temperature and seed; write figures, tables, a report.

    The Gaussian SACs are Stable-Baselines3's with its defaults, and with settings and a critic for the problem
    (``experiments/lqr/sac.py``). All have the same number of environment steps. Runs whose results an earlier start has
    left in ``out`` are not repeated.

    Writes to ``out``: what ``run_study`` writes of each run, ``results.json`` (every run), ``summary.json``,
    ``summary.csv`` and ``summary.md`` (means over seeds with confidence intervals), pictures and ``report.md``.

    :param alphas: temperatures, positive
    :param seeds: seeds, not negative, at least two
    :param out: folder for the results, made if needed
    :param problem: the problem to learn; default the default preset of ``maxent_envs``
    :param timesteps: environment steps of a run; what the settings are made for if ``None``
    :param jobs: number of runs at the same time, each in a process of its own if more than one
    :param command: the command line to name in the report
    :return: the rows of the summary
    :raises ValueError: if an argument is out of range
    :raises RuntimeError: at the end, if one of the further studies has failed
    """
    problem = maxent_envs.preset() if problem is None else problem
    out = Path(out)
    seeds = distinct_seeds(seeds, at_least=2)  # one has no confidence interval
    temperatures = distinct("alphas", alphas, positive)
    steps = TIMESTEPS if timesteps is None else integer("timesteps", timesteps, 1)
    specs = [
        RunSpec(problem, alpha, seed, steps, out, algorithm.name, algorithm.make, progress_bar=jobs == 1)
        for algorithm in OF_CASE_STUDY
        for alpha in temperatures
        for seed in seeds
    ]
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    tasks = [run_task(f"runs/{spec.name}/result", execute, spec) for spec in specs]
    results = run_tasks(tasks, out, jobs, console)
    write_json(out / "results.json", [result["row"] for result in results])
    summary = summarize(problem, results)
    write_summary(summary, out)
    save_full_plots(problem, results, summary, out)
    parts = {"The problem": problem_text(problem), **_case_study_parts(summary)}
    report = write_report(parts, command, out)
    failures: dict[str, Exception] = {}
    for heading, write in _further_parts(problem, specs, out, jobs).items():
        try:
            parts[heading] = write()
        except Exception as error:  # it must not cost the others
            parts[heading], failures[heading] = f"Failed: {error}", error
        write_report(parts, command, out)
    console.print(f"Report: {report}")
    if failures:
        raise RuntimeError(f"these parts failed, the others are in {report}: {failures}") from next(
            iter(failures.values())
        )
    return summary


def _case_study_parts(summary: Sequence[dict[str, Any]]) -> dict[str, str]:
    runs = next(row for row in summary if row["algorithm"] == "flowsac")
    budget = (
        f"{runs['timesteps']:,.0f} environment steps, {runs['updates']:,.0f} gradient steps and {runs['seeds']} seeds"
    )
    errors = (
        "Means over seeds with 95% confidence intervals. sac-tuned is Stable-Baselines3's SAC with settings for the "
        "problem and a quadratic critic learnt by gradient descent; it makes a gradient step for each step of eight "
        "environments, four times as many as FlowSAC. FlowSAC averages the soft value of a next state over four "
        "actions. sac-default and flowsac-default have their classes' defaults, network critics among them, and one "
        "environment."
    )
    figure_1 = (
        f"A run of FlowSAC has {budget}. Returns of 100 trajectories; mean over seeds, band from the lowest to the "
        f"highest. "
        "The closed form is an expectation; the optimum's mean over the evaluation's own 100 trajectories is what "
        "a learnt "
        "optimum would get there."
    )
    figure_2 = (
        "Dots: averages over visited states and seeds; bars: standard deviation over states; grey: what of it sampling "
        "can have made."
    )
    return {
        "Errors": f"{errors}\n\n{summary_table(summary)}",
        "Figure 1: returns in training": f"{figure_1}\n\n![](figure_1.png)",
        "Figure 2: distance from the optimum's distribution": f"{figure_2}\n\n![](figure_2.png)",
        "What a diagonal covariance gives away": "![](gaussian_gap.png)",
        "Action distributions": "The first seed of each temperature.\n\n![](action_distributions.png)",
    }


def _further_parts(
    problem: LQRProblem, specs: Sequence[RunSpec], out: Path, jobs: int | Backend
) -> dict[str, Callable[[], str]]:
    """Functions that run the other studies and return their text, by heading."""
    alphas, seeds = list(dict.fromkeys(spec.alpha for spec in specs)), list(dict.fromkeys(spec.seed for spec in specs))
    steps = specs[0].timesteps
    policies: dict[str, Source] = {
        f"{spec.algorithm}, alpha {spec.alpha:g}": SavedModel(
            spec.folder / "model.zip", ALGORITHMS[spec.algorithm].model_class
        )
        for spec in specs
        if spec.seed == seeds[0] and spec.algorithm != SAC_DEFAULT.name
    }
    policies |= {f"optimum, alpha {alpha:g}": problem.solve(alpha) for alpha in alphas}

    def spi() -> str:
        rows = run_spi(problem=problem, alphas=alphas, seeds=seeds, out=out, jobs=jobs)
        text = "ISFM alone, without a critic's error: the last policies, and every iterate beside the exact one."
        return f"{text}\n\n{spi_table(rows)}\n\n![](spi.png)"

    def zero_temperature() -> str:
        rows = run_zero_temperature(problem=problem, timesteps=steps, out=out, jobs=jobs)
        text = (
            "FlowSAC, seed 0. K does not depend on alpha; what could fail is learning. "
            "Loss: return below that of u = -K x."
        )
        return f"{text}\n\n{zero_temperature_table(rows)}\n\n![](zero_temperature.png)"

    def robustness() -> str:
        rows = run_robustness(policies=policies, problem=problem, out=out, jobs=jobs)
        text = (
            f"Loss of standard return under a disturbance that training has not seen, seed {seeds[0]}. All optima "
            f"have one "
            "mean controller, so on a linear system entropy cannot make it more robust."
        )
        return f"{text}\n\n{robustness_table(rows)}\n\n![](robustness.png)"

    def growing() -> str:
        rows = run_growing(timesteps=steps, out=out, jobs=jobs)
        text = (
            "FlowSAC on random stabilizable systems (not the problem above), alpha 0.5, seed 0, "
            "settings and steps unchanged."
        )
        return f"{text}\n\n{growing_table(rows)}\n\n![](growing.png)"

    def theorem2() -> str:
        text = theorem2_text(run_theorem2(out=out, jobs=jobs))
        return f"A fixed Gaussian target, no reinforcement learning. {text}\n\n![](theorem2.png)"

    return {
        "Algorithm 1: soft policy iteration with exact Q": spi,
        "Towards zero temperature": zero_temperature,
        "Disturbances": robustness,
        "Growing systems": growing,
        "Theorem 2: distance against samples": theorem2,
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
    summary["return_error_se"] = float(np.mean([row["return_se"] / abs(row["optimal_return"]) for row in rows]))
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
