"""Action distributions beside the closed-form optimum of an LQR."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maxent_envs import LQRSolution
from maxent_envs.validation import FloatArray
from sb3_flowsac.plotting.style import LEARNT, OPTIMAL, PANEL_INCHES

# Margins in inches around each panel. Fixed: a layout engine costs more time than all else in a figure drawn in
# training
LEFT, RIGHT, BOTTOM, TOP, LEGEND = 0.75, 0.1, 0.5, 0.3, 0.35


def action_distribution_figure(rows: list[tuple[LQRSolution, FloatArray, FloatArray]]) -> Figure:
    """
    Actions drawn in a few states beside the optimum's distribution there, one row for each policy.

    Two inputs or more: the first two, as points with 2-sigma ellipses of both. One input: a histogram with the
    optimum's density.

    :param rows: for each policy the optimum, states (k, n_states) and actions drawn there (k, count, n_inputs)
    :return: the figure
    """
    columns = max(len(states) for _, states, _ in rows)
    width, height = PANEL_INCHES * columns, PANEL_INCHES * len(rows) + LEGEND
    figure = Figure(figsize=(width, height))
    grid = figure.subplots(
        len(rows),
        columns,
        squeeze=False,
        gridspec_kw={
            "left": LEFT / width,
            "right": 1.0 - RIGHT / width,
            "bottom": BOTTOM / height,
            "top": 1.0 - (LEGEND + TOP) / height,
            "wspace": (LEFT + RIGHT) / (PANEL_INCHES - LEFT - RIGHT),
            "hspace": (BOTTOM + TOP) / (PANEL_INCHES - BOTTOM - TOP),
        },
    )
    for axes_row, (solution, states, actions) in zip(grid, rows, strict=True):
        for axes, state, drawn in zip(axes_row, states, actions, strict=False):
            draw_actions(axes, solution, state, drawn)
            axes.set_title(f"alpha {solution.alpha:g}, x = {_short(state)}", fontsize="small")
            axes.locator_params(nbins=5)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="upper center", ncols=2, fontsize="small")
    return figure


def draw_actions(axes: Axes, solution: LQRSolution, state: FloatArray, actions: FloatArray) -> None:
    """
    Draw actions of one state and the optimum's distribution.

    :param axes: where to draw
    :param solution: the optimum
    :param state: the state, (n_states,)
    :param actions: actions drawn there, (count, n_inputs)
    """
    optimal_mean = solution.mean(state)
    if actions.shape[1] == 1:
        _draw_density(axes, actions[:, 0], float(optimal_mean[0]), float(np.sqrt(solution.Sigma[0, 0])))
        return
    pair = actions[:, :2]
    axes.scatter(pair[:, 0], pair[:, 1], s=3, alpha=0.3, color=LEARNT, edgecolors="none")
    axes.plot(*ellipse(pair.mean(axis=0), np.cov(pair.T)), color=LEARNT, label="learnt (2 sigma)")
    axes.plot(*ellipse(optimal_mean[:2], solution.Sigma[:2, :2]), "--", color=OPTIMAL, label="optimal (2 sigma)")
    axes.set_xlabel("input 1")
    axes.set_ylabel("input 2")


def _short(state: FloatArray) -> str:
    """The first two components of a state."""
    numbers = ", ".join(f"{number:.2f}" for number in state[:2])
    return f"({numbers}, ...)" if len(state) > 2 else f"({numbers})"


def _draw_density(axes: Axes, actions: FloatArray, optimal_mean: float, optimal_std: float) -> None:
    axes.hist(actions, bins=30, density=True, color=LEARNT, alpha=0.5, label="learnt")
    grid = optimal_mean + optimal_std * np.linspace(-4.0, 4.0, 200)
    density = np.exp(-0.5 * ((grid - optimal_mean) / optimal_std) ** 2) / (optimal_std * np.sqrt(2.0 * np.pi))
    axes.plot(grid, density, "--", color=OPTIMAL, label="optimal")
    axes.set_xlabel("input")


def ellipse(mean: FloatArray, cov: FloatArray, n_sigma: float = 2.0) -> FloatArray:
    """
    Points of an ellipse of constant density of a two-dimensional Gaussian.

    :param mean: its centre, (2,)
    :param cov: its covariance, (2, 2), positive semidefinite
    :param n_sigma: how many standard deviations from the centre
    :return: a closed curve, (2, 100)
    """
    angle = np.linspace(0.0, 2.0 * np.pi, 100)
    eigenvalues, vectors = np.linalg.eigh(cov)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    points: FloatArray = mean[:, None] + n_sigma * (vectors * np.sqrt(eigenvalues.clip(min=0.0))) @ circle
    return points
