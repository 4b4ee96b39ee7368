"""What all figures share: colours, sizes, titles, and how they become files."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sb3_flowsac.files.writing import replacing

LEARNT, OPTIMAL, NOISE = "tab:blue", "black", "0.6"
PANEL_INCHES = 3.0
DOTS_PER_INCH, MAX_PIXELS = 120, 2000
MOST_COMPONENTS = 6  # of an action that are drawn
MOST_NUMBERS = 4  # of a state in a title


def panels(rows: int, columns: int, scale: float = 1.0) -> tuple[Figure, np.ndarray]:
    """A figure with a grid of square panels, ``scale`` times as large as usual, and its axes (rows, columns)."""
    side = PANEL_INCHES * scale
    figure = Figure(figsize=(side * columns + 0.5, side * rows + 0.2), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def state_titles(obs: Any, n_states: int) -> list[str]:
    """A title for each of ``n_states`` observations, single or batched: its number, and a short vector's value."""
    titles = [f"state {i + 1}" for i in range(n_states)]
    if isinstance(obs, dict):
        return titles
    values = np.asarray(obs, dtype=float).reshape(n_states, -1)
    if values.shape[1] > MOST_NUMBERS:
        return titles
    return [f"{title}: ({', '.join(f'{x:.2f}' for x in state)})" for title, state in zip(titles, values, strict=True)]


def save_figure(figure: Figure, path: Path) -> None:
    """
    Write a figure as a PNG file of at most 2,000 pixels in width, whole or not at all.

    :param figure: the figure
    :param path: the file
    """
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=min(DOTS_PER_INCH, MAX_PIXELS / figure.get_figwidth()))


def save_figures(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write figures as ``NAME.png``, see ``save_figure``, and return the files."""
    paths = [folder / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


def has_display() -> bool:
    """Whether a window can be opened."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
