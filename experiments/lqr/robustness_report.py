"""Picture and tables of the robustness study."""

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE
from rich.table import Table

from experiments.runner.tasks import Result

CONTROLLERS = ("stochastic", "deterministic")


def figure(rows: Sequence[Result]) -> Figure:
    """
    Loss of return against magnitude: a row for each controller, a column for each kind; optima dashed.

    :param rows: see ``run_robustness``
    :return: the figure
    """
    kinds = _distinct(rows, "kind")
    result = Figure(figsize=(3.6 * len(kinds), 7.0), layout="constrained")
    grid = result.subplots(len(CONTROLLERS), len(kinds), squeeze=False)
    for axes_row, controller in zip(grid, CONTROLLERS, strict=True):
        for axes, kind in zip(axes_row, kinds, strict=True):
            _draw(axes, [row for row in rows if (row["controller"], row["kind"]) == (controller, kind)])
            axes.set_title(f"{kind}, {controller}", fontsize="medium")
            axes.set_xlabel("magnitude")
        axes_row[0].set_ylabel("loss of return")
    result.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    return result


def _draw(axes: Axes, rows: Sequence[Result]) -> None:
    """A line for each policy: its colour by its own name, its shade by what follows the comma, such as a
    temperature."""
    names = list(dict.fromkeys(row["label"].partition(", ")[0] for row in rows))
    variants = list(dict.fromkeys(row["label"].partition(", ")[2] for row in rows))
    for label in _distinct(rows, "label"):
        found = [row for row in rows if row["label"] == label]
        name, _, variant = label.partition(", ")
        axes.errorbar(
            [row["magnitude"] for row in found],
            [row["loss"] for row in found],
            yerr=[2.0 * row["loss_se"] for row in found],
            linestyle="--" if found[0]["optimum"] else "-",
            marker="" if found[0]["optimum"] else "o",
            markersize=4,
            color="black" if found[0]["optimum"] else f"C{names.index(name)}",
            alpha=(1.0 + variants.index(variant)) / len(variants),
            label=label,
        )
    axes.set_yscale("log")


def tables(rows: Sequence[Result]) -> Iterator[Table]:
    """
    A table for each kind of disturbance: the undisturbed return, then the loss, absolute and relative, at each
    magnitude.

    :param rows: see ``run_robustness``
    :return: the tables
    """
    for kind in _distinct(rows, "kind"):
        chosen = [row for row in rows if row["kind"] == kind]
        table = Table(title=f"Loss of return under a disturbance: {kind}", box=SIMPLE, pad_edge=False)
        table.add_column("policy")
        table.add_column("controller")
        for heading in ("undisturbed", *(f"{magnitude:g}" for magnitude in _distinct(chosen, "magnitude"))):
            table.add_column(heading, justify="right")
        for label in _distinct(chosen, "label"):
            for controller in CONTROLLERS:
                found = [row for row in chosen if (row["label"], row["controller"]) == (label, controller)]
                losses = (f"{row['loss']:.3f} ({row['relative_loss']:.0%})" for row in found)
                table.add_row(label, controller, f"{found[0]['undisturbed']:.3f}", *losses)
        yield table


def _distinct(rows: Sequence[Result], key: str) -> list[Any]:
    return list(dict.fromkeys(row[key] for row in rows))
