"""Drawing of an LQR episode."""

from typing import TYPE_CHECKING

import numpy as np

from maxent_envs.lqr.problem import LQRSolution
from maxent_envs.validation import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_episode(figure: "Figure", path: FloatArray, action: FloatArray | None, optimum: LQRSolution) -> None:
    """The path in the plane of the first two states, and the optimal action beside the taken one.

    :param figure: Where to draw.
    :param path: States since the reset, shape (steps + 1, n); with one state its values are drawn over the steps.
    :param action: The last action, shape (m,), ``None`` before the first.
    :param optimum: Whose mean action and standard deviation are shown.
    """
    path_axes, action_axes = figure.subplots(1, 2)
    for axes in (path_axes, action_axes):
        axes.axhline(0.0, color="0.85", zorder=0)
    if path.shape[1] > 1:
        points, labels = path[:, :2], ("state 1", "state 2")
        path_axes.axvline(0.0, color="0.85", zorder=0)
    else:
        points, labels = np.column_stack([np.arange(len(path)), path]), ("step", "state")
    path_axes.plot(*points.T, marker=".", color="tab:blue", linewidth=1.0, label="path")
    path_axes.plot(*points[-1:].T, marker="o", markersize=9, linestyle="", color="tab:red", label="now")
    path_axes.set(xlabel=labels[0], ylabel=labels[1], title=f"step {len(path) - 1}")
    position = np.arange(optimum.problem.n_inputs)
    action_axes.set_xticks(position, [f"input {i + 1}" for i in position])
    action_axes.set(title="last action", ylabel="value")
    if action is not None:
        action_axes.bar(position - 0.2, action, width=0.35, color="tab:blue", label="taken")
        optimal, std = optimum.mean(path[-2]), np.sqrt(np.diag(optimum.Sigma))
        label = "optimal, mean and std"
        action_axes.bar(position + 0.2, optimal, width=0.35, color="tab:orange", yerr=std, label=label)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
