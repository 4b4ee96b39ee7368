"""Pictures of the LQR study."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sb3_flowsac.plotting import LEARNT, OPTIMAL, action_distribution_figure
from sb3_flowsac.studies.lqr.training import RunResult

DOTS_PER_INCH = 120


def save_plots(results: Sequence[RunResult], out: Path) -> list[Path]:
    """
    Draw the runs: action distributions (the first seed of each temperature), errors, learning curves.

    :param results: the runs, at least one
    :param out: folder for the pictures
    :return: the PNG files
    """
    figures = {
        "action_distributions.png": _action_distributions(results),
        "errors.png": _errors(results),
        "learning_curves.png": _learning_curves(results),
    }
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=DOTS_PER_INCH)
    return [out / name for name in figures]


def _by_alpha(results: Sequence[RunResult]) -> dict[float, list[RunResult]]:
    alphas = dict.fromkeys(result.spec.alpha for result in results)
    return {alpha: [result for result in results if result.spec.alpha == alpha] for alpha in alphas}


def _action_distributions(results: Sequence[RunResult]) -> Figure:
    evaluations = [runs[0].evaluation for runs in _by_alpha(results).values()]
    return action_distribution_figure(
        [(found.solution, found.errors.example_states, found.errors.example_actions) for found in evaluations]
    )


def _errors(results: Sequence[RunResult]) -> Figure:
    """Bars of the mean over seeds, a dot for each seed."""
    figure = Figure(figsize=(8.0, 3.2), layout="constrained")
    groups = _by_alpha(results)
    for axes, key, title in zip(
        figure.subplots(1, 2), ("mean_error", "cov_error"), ("mean of the action", "covariance of the action"), strict=True
    ):
        for place, runs in enumerate(groups.values()):
            errors = [100.0 * run.row[key] for run in runs]
            axes.bar(place, np.mean(errors), color=LEARNT, alpha=0.5)
            axes.plot([place] * len(errors), errors, "o", color=LEARNT)
        axes.set_xticks(range(len(groups)), [f"alpha {alpha:g}" for alpha in groups])
        axes.set_title(title)
        axes.set_ylabel("error relative to the optimum (%)")
    return figure


def _learning_curves(results: Sequence[RunResult]) -> Figure:
    """A row for each temperature: the return with the optimum dashed, and the two errors; a line for each seed."""
    groups = _by_alpha(results)
    figure = Figure(figsize=(9.0, 3.0 * len(groups)), layout="constrained")
    grid = figure.subplots(len(groups), 2, squeeze=False)
    for (return_axes, error_axes), (alpha, runs) in zip(grid, groups.items(), strict=True):
        for run in runs:
            _draw_curves(return_axes, error_axes, run)
        return_axes.set_title(f"alpha {alpha:g}")
        return_axes.set_ylabel("discounted return")
        return_axes.set_ylim(_lowest_return_shown(runs), 0.0)  # costs: no return is positive
        error_axes.set_ylabel("error relative to the optimum (%)")
        error_axes.set_yscale("log")
        for axes in (return_axes, error_axes):
            axes.set_xlabel("environment steps")
            axes.locator_params(axis="x", nbins=5)
    for axes in grid[0]:
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        axes.legend(unique.values(), unique.keys(), fontsize="small")
    return figure


def _draw_curves(return_axes: Axes, error_axes: Axes, run: RunResult) -> None:
    curve = {key: np.array([point[key] for point in run.history]) for key in run.history[0]}
    steps = curve["timesteps"]
    return_axes.plot(steps, curve["return"], color=LEARNT, label="learnt")
    return_axes.plot(steps, curve["optimal_return"], "--", color=OPTIMAL, label="optimal")
    error_axes.plot(steps, 100.0 * curve["mean_error"], color=LEARNT, label="mean")
    error_axes.plot(steps, 100.0 * curve["cov_error"], color="tab:orange", label="covariance")


def _lowest_return_shown(runs: Sequence[RunResult]) -> float:
    """Where the axis of returns ends: early policies can fail so badly that nothing else could be seen."""
    returns = np.array([[point["return"] for point in run.history] for run in runs])
    return float(max(1.1 * returns.min(), min(4.0 * runs[0].row["optimal_return"], 1.1 * returns[:, -1].min())))
