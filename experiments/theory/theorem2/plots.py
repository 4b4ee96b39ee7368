"""The picture of the Theorem 2 study."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def theorem2_figure(content: dict[str, Any]) -> Figure:
    """
    Draw the squared distance against N and against R_4, with the bound's rates through the first mean.

    :param content: what ``theorem2.json`` holds
    """
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes_n, axes_renyi = figure.subplots(1, 2, sharey=True)
    for axes, entries, key in ((axes_n, "by_n_samples", "n_samples"), (axes_renyi, "by_renyi_4", "renyi_4")):
        _draw(axes, content[entries], key, content["bound"][key])
        axes.axhline(np.mean(content["floor"]["upper"]), color="tab:gray", linestyle=":", label="floor of the training")
        axes.set_yscale("log")
    axes_n.set_xscale("log", base=2)
    axes_n.set(xlabel="number of samples N", ylabel="squared W2 distance", title="h = N(0, I)")
    axes_renyi.set(xlabel="Renyi divergence R_4(target || h), nats", title="h moved away from the target, N = 1024")
    axes_n.legend(fontsize="small")
    axes_renyi.legend(fontsize="small")
    return figure


def _draw(axes: Axes, entries: list[dict[str, Any]], key: str, rate: float) -> None:
    """Means, a dot for each seed, and a line of the bound's rate; the bound's own factor is unknown."""
    x = np.array([float(entry[key]) for entry in entries])
    upper = np.array([entry["upper"] for entry in entries])
    lower = np.array([entry["lower"] for entry in entries])
    axes.plot(x, upper.mean(axis=1), color="tab:blue", label="upper bound of W2^2, mean")
    axes.plot(np.repeat(x, upper.shape[1]), upper.ravel(), ".", color="tab:blue", alpha=0.4, markersize=4)
    axes.plot(x, lower.mean(axis=1), color="tab:orange", label="lower bound of W2^2, mean")
    growth = (x / x[0]) ** rate if key == "n_samples" else np.exp(rate * (x - x[0]))
    label = f"N^({rate:g})" if key == "n_samples" else f"exp({rate:g} R_4)"
    axes.plot(x, upper[0].mean() * growth, "--", color="black", label=f"rate of the theorem's bound, {label}")
