"""What all figures share: colours, sizes, and how they become files."""

from pathlib import Path

from matplotlib.figure import Figure

from sb3_flowsac.files.writing import replacing

LEARNT, OPTIMAL = "tab:blue", "black"
PANEL_INCHES = 3.0
DOTS_PER_INCH = 120


def save_figure(figure: Figure, path: Path) -> None:
    """
    Write a figure as a PNG file, whole or not at all.

    :param figure: the figure
    :param path: the file
    """
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
