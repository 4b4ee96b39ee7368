"""Action distributions beside the closed-form optimum of an LQR."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from maxent_envs import LQRSolution
from maxent_envs.validation import FloatArray
from sb3_flowsac.plotting.style import LEARNT, OPTIMAL, panels, state_titles

POINTS = 500  # shown of the actions; the ellipses are those of all


def action_distribution_figure(rows: list[tuple[LQRSolution, FloatArray, FloatArray]]) -> Figure:
    """
    Actions drawn in a few states beside the optimum's distribution there, one row for each policy.

    Two inputs or more: the first two, as points with 2-sigma ellipses of both. One input: a histogram with the
    optimum's density.

    :param rows: for each policy the optimum, states (k, n_states) and actions drawn there (k, count, n_inputs)
    :return: the figure
    """
    figure, grid = panels(len(rows), max(len(states) for _, states, _ in rows))
    for axes_row, (solution, states, actions) in zip(grid, rows, strict=True):
        titles = state_titles(states, len(states))
        for axes, state, drawn, title in zip(axes_row, states, actions, titles, strict=False):
            draw_actions(axes, solution, state, drawn)
            axes.set_title(f"alpha {solution.alpha:g}, {title}", fontsize="small")
            axes.locator_params(nbins=5)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize="small")
    return figure


def draw_actions(
    axes: Axes, solution: LQRSolution, state: FloatArray, actions: FloatArray, points: int = POINTS
) -> None:
    """
    Draw a panel of ``action_distribution_figure``.

    :param axes: where to draw
    :param solution: the optimum
    :param state: a state, (n_states,)
    :param actions: actions drawn there, (count, n_inputs)
    :param points: how many of them are shown as points
    """
    mean, cov = solution.mean(state)[:2], solution.Sigma[:2, :2]
    if actions.shape[1] == 1:
        optimum = stats.norm(mean[0], np.sqrt(cov[0, 0]))
        grid = optimum.mean() + optimum.std() * np.linspace(-4.0, 4.0, 200)
        axes.hist(actions[:, 0], bins=30, density=True, color=LEARNT, alpha=0.5, label="learnt")
        axes.plot(grid, optimum.pdf(grid), "--", color=OPTIMAL, label="optimal")
        axes.set_xlabel("input")
        return
    pair = actions[:, :2]
    axes.scatter(pair[:points, 0], pair[:points, 1], s=3, alpha=0.3, color=LEARNT, edgecolors="none")
    axes.plot(*_two_sigma_ellipse(pair.mean(axis=0), np.cov(pair.T)), color=LEARNT, label="learnt (2 sigma)")
    axes.plot(*_two_sigma_ellipse(mean, cov), "--", color=OPTIMAL, label="optimal (2 sigma)")
    axes.set(xlabel="input 1", ylabel="input 2")


def _two_sigma_ellipse(mean: FloatArray, cov: FloatArray) -> FloatArray:
    """A closed curve (2, 100), two standard deviations from the mean of a two-dimensional Gaussian."""
    angle = np.linspace(0.0, 2.0 * np.pi, 100)
    eigenvalues, vectors = np.linalg.eigh(cov)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    points: FloatArray = mean[:, None] + 2.0 * (vectors * np.sqrt(eigenvalues.clip(min=0.0))) @ circle
    return points
