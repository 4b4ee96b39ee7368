"""Pictures of the case study: the paper's Figures 1 and 2, and what a Gaussian policy gives away."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.runner.tasks import Result
from maxent_envs import LQRProblem
from sb3_flowsac.lqr_study.models import EPISODE_STEPS
from sb3_flowsac.lqr_study.plots import by_alpha, distributions_figure, lowest_return_shown
from sb3_flowsac.plotting.style import save_figures

COLOURS = {
    "flowsac": "tab:blue",
    "flowsac-default": "tab:purple",
    "sac-tuned": "tab:orange",
    "sac-default": "tab:green",
    "best diagonal Gaussian": "black",
}
LABELS = {
    "flowsac": "FlowSAC, the study's settings",
    "flowsac-default": "FlowSAC, defaults",
    "sac-tuned": "Gaussian SAC, tuned",
    "sac-default": "Gaussian SAC, SB3's defaults",
    "best diagonal Gaussian": "best diagonal Gaussian (closed form)",
}
BAR = 0.16  # width of a bar where temperatures are one apart


def save_full_plots(
    problem: LQRProblem, results: Sequence[Result], summary: Sequence[Mapping[str, Any]], out: Path
) -> list[Path]:
    """
    Draw the case study.

    :param problem: what the runs have learnt
    :param results: what ``training.execute`` has found
    :param summary: what ``full.summarize`` has made of it
    :param out: folder for the pictures
    :return: the PNG files
    """
    flows = by_alpha([result for result in results if result["row"]["algorithm"] == "flowsac"])
    return save_figures(
        {
            "figure_1": returns_figure(problem, flows),
            "figure_2": distances_figure(results),
            "gaussian_gap": gap_figure(summary),
            "action_distributions": distributions_figure(problem, flows),
        },
        out,
    )


def returns_figure(problem: LQRProblem, groups: Mapping[float, Sequence[Result]]) -> Figure:
    """
    Figure 1: returns in training against episodes, solid with a band over seeds, and the optimum's.

    The closed form (dashed) is an expectation; what the optimum gets on the evaluation's own trajectories (dotted) is
    what a learnt optimum gets there, too.

    :param problem: what the runs have learnt
    :param groups: FlowSAC's results of each temperature
    """
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (alpha, runs) in enumerate(groups.items()):
        colour = f"C{number}"
        episodes = np.array([point["timesteps"] for point in runs[0]["history"]]) / EPISODE_STEPS
        returns = np.array([[point["return"] for point in run["history"]] for run in runs])
        axes.plot(episodes, returns.mean(axis=0), color=colour, label=f"alpha {alpha:g}")
        axes.fill_between(episodes, returns.min(axis=0), returns.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        optimal = problem.solve(alpha).expected_return(runs[0]["row"]["horizon"])
        axes.axhline(optimal, color=colour, linestyle="--", label=None if number else "optimum, closed form")
        axes.axhline(
            runs[0]["history"][0]["optimal_return"],
            color=colour,
            linestyle=":",
            label=None if number else "optimum, on the same trajectories",
        )
    axes.set_ylim(min(lowest_return_shown(runs) for runs in groups.values()), 0.0)
    axes.set_xlabel(f"episodes of {EPISODE_STEPS} steps")
    axes.set_ylabel("discounted return without entropy")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
    return figure


def distances_figure(results: Sequence[Result]) -> Figure:
    """
    Figure 2: distances of mean and covariance from the optimum's, absolute and relative, and the estimator's floor.

    Dots are averages over states and seeds, bars the standard deviation over states (averaged over seeds).

    :param results: results of every algorithm
    """
    figure = Figure(figsize=(10.0, 6.5), layout="constrained")
    for row_of_axes, relative in zip(figure.subplots(2, 2), (False, True), strict=True):
        for axes, moment, symbol in zip(row_of_axes, ("mean", "cov"), ("mean + K x", "cov - Sigma"), strict=True):
            _draw_distances(axes, results, moment, relative)
            axes.set_ylabel(f"||{symbol}||" + (" / optimum's (%)" if relative else ""))
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize="small")
    return figure


def _draw_distances(axes: Axes, results: Sequence[Result], moment: str, relative: bool) -> None:
    algorithms = list(dict.fromkeys(result["row"]["algorithm"] for result in results))
    for number, algorithm in enumerate(algorithms):
        groups = by_alpha([result for result in results if result["row"]["algorithm"] == algorithm])
        places = np.arange(len(groups)) + BAR * (number - 0.5 * (len(algorithms) - 1))
        figures = np.array([_distances([run["row"] for run in runs], moment, relative) for runs in groups.values()])
        average, spread, floor = figures.T
        lower = np.minimum(spread, 0.9 * average)  # the axis is logarithmic
        axes.errorbar(
            places, average, [lower, spread], fmt="o", color=COLOURS[algorithm], capsize=3, label=LABELS[algorithm]
        )
        axes.plot(places, floor, "_", color="grey", markersize=12, label=None if number else "what sampling leaves")
    axes.set_xticks(range(len(groups)), [f"alpha {alpha:g}" for alpha in groups])
    axes.set_yscale("log")


def _distances(rows: Sequence[Mapping[str, Any]], moment: str, relative: bool) -> list[float]:
    """Average distance, its standard deviation over states and the estimator's floor: means over seeds."""
    figures = []
    for row in rows:
        average, deviation = row[f"{moment}_distance"], row[f"{moment}_distance_std"]
        percent = 100.0 * row[f"{moment}_error"] / average  # of a unit of distance
        floor = 100.0 * row[f"{moment}_floor"] / percent
        figures.append(np.array([average, deviation, floor]) * (percent if relative else 1.0))
    return [float(figure) for figure in np.mean(figures, axis=0)]


def gap_figure(summary: Sequence[Mapping[str, Any]]) -> Figure:
    """
    What a diagonal covariance gives away: error of the covariance, and distance from the optimum's soft return.

    :param summary: rows of ``full.summarize``
    """
    figure = Figure(figsize=(10.0, 3.8), layout="constrained")
    alphas = list(dict.fromkeys(row["alpha"] for row in summary))
    panels = {"cov_error": ("covariance error (%)", 100.0), "soft_gap": ("soft return below the optimum", 1.0)}
    for axes, (key, (title, factor)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for number, (algorithm, label) in enumerate(LABELS.items()):
            rows = [row for row in summary if row["algorithm"] == algorithm]
            places = [alphas.index(row["alpha"]) + BAR * (number - 0.5 * (len(LABELS) - 1)) for row in rows]
            heights = [factor * row[key] for row in rows]
            errors = [factor * row.get(f"{key}_ci", 0.0) for row in rows]
            axes.bar(places, heights, BAR, yerr=errors, color=COLOURS[algorithm], label=label)
        axes.set_yscale("log")
        axes.set_xticks(range(len(alphas)), [f"alpha {alpha:g}" for alpha in alphas])
        axes.set_title(title, fontsize="medium")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize="small")
    return figure
