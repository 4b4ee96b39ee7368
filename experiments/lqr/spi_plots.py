"""The picture of soft policy iteration: errors of the flow's iterates on top of the exact ones."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from sb3_flowsac.plotting import LEARNT, OPTIMAL

LOWEST = 1e-4  # exact iterates fall to rounding: below what a flow reaches nothing is to be seen


def spi_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """
    Relative errors of gain and covariance against iterations, a column for each temperature and a line for each seed.

    :param rows: results of the runs, at least one; see ``spi.execute``
    :return: the figure
    """
    alphas = list(dict.fromkeys(row["alpha"] for row in rows))
    figure = Figure(figsize=(3.2 * len(alphas) + 0.8, 5.2), layout="constrained")
    grid = figure.subplots(2, len(alphas), squeeze=False, sharex=True, sharey=True)
    for axes_row, key, label in zip(grid, ("gain_error", "cov_error"), ("gain", "covariance"), strict=True):
        for axes, alpha in zip(axes_row, alphas, strict=True):
            runs = [row for row in rows if row["alpha"] == alpha]
            for run in runs:
                axes.semilogy(run["flow"][key], "o-", color=LEARNT, alpha=0.7, markersize=4, label="flow")
            # The same for every seed
            axes.semilogy(runs[0]["exact"][key], "s--", color=OPTIMAL, markersize=4, label="exact (Lemma 1)")
        axes_row[0].set_ylabel(f"relative error of the {label}")
    for axes, alpha in zip(grid[0], alphas, strict=True):
        axes.set_title(f"alpha {alpha:g}")
    for axes in grid[1]:
        axes.set_xlabel("iteration")
    grid[0, 0].set_ylim(bottom=LOWEST)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    grid[0, 0].legend(unique.values(), unique.keys(), fontsize="small")
    return figure
