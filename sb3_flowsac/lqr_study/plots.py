"""Pictures of the LQR study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from maxent_envs import LQRProblem
from sb3_flowsac.lqr_study.training import Result
from sb3_flowsac.plotting import LEARNT, OPTIMAL, action_distribution_figure
from sb3_flowsac.plotting.style import save_figures


def save_plots(problem: LQRProblem, results: Sequence[Result], out: Path) -> list[Path]:
    """
    Draw the runs: action distributions (the first seed of each temperature), learning curves.

    :param problem: what the runs have learnt
    :param results: what ``training.execute`` has found, at least one
    :param out: folder for the pictures
    :return: the PNG files
    """
    groups = by_alpha(results)
    figures = {
        "action_distributions": distributions_figure(problem, groups),
        "learning_curves": _learning_curves(groups),
    }
    return save_figures(figures, out)


def by_alpha(results: Sequence[Result]) -> dict[float, list[Result]]:
    """The results of ``save_plots`` by their temperature."""
    alphas = dict.fromkeys(result["row"]["alpha"] for result in results)
    return {alpha: [result for result in results if result["row"]["alpha"] == alpha] for alpha in alphas}


def distributions_figure(problem: LQRProblem, groups: Mapping[float, Sequence[Result]]) -> Figure:
    """Actions of the first run of each temperature, see ``by_alpha``, beside the optimum's distribution."""
    rows = []
    for alpha, runs in groups.items():
        examples = runs[0]["examples"]
        rows.append((problem.solve(alpha), np.array(examples["states"]), np.array(examples["actions"])))
    return action_distribution_figure(rows)


def _learning_curves(groups: Mapping[float, Sequence[Result]]) -> Figure:
    """A row for each temperature: the return with the optimum dashed, and the two errors; a line for each seed."""
    figure = Figure(figsize=(9.0, 3.0 * len(groups)), layout="constrained")
    grid = figure.subplots(len(groups), 2, squeeze=False)
    for (return_axes, error_axes), (alpha, runs) in zip(grid, groups.items(), strict=True):
        for run in runs:
            curve = {key: np.array([point[key] for point in run["history"]]) for key in run["history"][0]}
            steps = curve["timesteps"]
            return_axes.plot(steps, curve["return"], color=LEARNT, label="learnt")
            return_axes.plot(steps, curve["optimal_return"], "--", color=OPTIMAL, label="optimal")
            error_axes.plot(steps, 100.0 * curve["mean_error"], color=LEARNT, label="mean")
            error_axes.plot(steps, 100.0 * curve["cov_error"], color="tab:orange", label="covariance")
        return_axes.set(title=f"alpha {alpha:g}", ylabel="discounted return")
        return_axes.set_ylim(lowest_return_shown(runs), 0.0)  # costs: no return is positive
        error_axes.set(ylabel="error relative to the optimum (%)", yscale="log")
        for axes in (return_axes, error_axes):
            axes.set_xlabel("environment steps")
            axes.locator_params(axis="x", nbins=5)
    for axes in grid[0]:
        axes.legend(handles=axes.lines[:2], fontsize="small")  # the first seed's
    return figure


def lowest_return_shown(runs: Sequence[Result]) -> float:
    """Where an axis of one temperature's returns ends: early ones can be so bad that nothing else could be seen."""
    returns = np.array([[point["return"] for point in run["history"]] for run in runs])
    return float(max(1.1 * returns.min(), min(4.0 * runs[0]["row"]["optimal_return"], 1.1 * returns[:, -1].min())))
