"""Pictures of the results."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from experiments.distributions.static_targets.fits import METHODS
from experiments.distributions.static_targets.goals import Runs
from experiments.runner.figures import panels

STRONG, LIGHT = colormaps["tab20"].colors[::2], colormaps["tab20"].colors[1::2]
COLOURS = {**dict(zip(METHODS, STRONG + LIGHT, strict=False)), "true": "black"}
Densities = Mapping[str, Mapping[str, np.ndarray]]
"""By target: the target's density and that of the policy of each method, on a grid over the Box in one state."""


def kl_figure(runs: Runs, against: str, label: str) -> Figure:
    """
    KL(pi || p) of all runs, one panel for each target.

    :param runs: the measurements
    :param against: the figure on the horizontal axis
    :param label: its name
    """
    targets = list(dict.fromkeys(target for target, _ in runs))
    figure, axes_of = panels(targets)
    for (target, method), by_seed in runs.items():
        for number, rows in enumerate(by_seed.values()):
            x, y = [row[against] for row in rows], [row["kl"] for row in rows]
            axes_of[target].plot(x, y, ".-", color=COLOURS[method], label=None if number else method, lw=1.0)
    for axes in axes_of.values():
        axes.set(xscale="log", yscale="log", xlabel=label, ylabel="KL(pi, p) in nats")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    return figure


def density_figure(densities: Densities) -> Figure:
    """The target's density beside those of the policies, one row for each target."""
    methods = ["target", *(method for method in METHODS if any(method in found for found in densities.values()))]
    shape = len(densities), len(methods)
    figure = Figure(figsize=(1.8 * shape[1], 1.9 * shape[0]), layout="constrained")
    grid = figure.subplots(*shape, squeeze=False)
    for axes_row, (target, found) in zip(grid, densities.items(), strict=True):
        _density_row(axes_row, methods, found)
        axes_row[0].set_ylabel(target, fontsize="small")
    for axes, method in zip(grid[0], methods, strict=True):
        axes.set_title(method, fontsize="small")
    return figure


def _density_row(axes_row: Iterable, methods: list[str], found: Mapping[str, np.ndarray]) -> None:
    largest = found["target"].max()
    for axes, method in zip(axes_row, methods, strict=True):
        axes.set(xticks=[], yticks=[], frame_on=method in found)
        if method in found:
            axes.imshow(found[method], origin="lower", extent=(-1, 1, -1, 1), vmin=0.0, vmax=largest, cmap="magma")
