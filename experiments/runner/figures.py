"""Pictures with a panel for each of several things."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMNS = 4


def panels(titles: Sequence[str]) -> tuple[Figure, dict[str, Axes]]:
    """
    A figure with a panel for each title, four in a row.

    :param titles: different titles
    :return: the figure, and the panels by their titles
    """
    columns = min(COLUMNS, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.0 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(titles) :]:
        axes.set_axis_off()
    found = dict(zip(titles, grid, strict=False))
    for title, axes in found.items():
        axes.set_title(title, fontsize="small")
    return figure, found
