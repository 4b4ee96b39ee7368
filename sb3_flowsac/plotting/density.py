"""The density of a policy's actions in given states."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maxent_envs.validation import FloatArray
from sb3_flowsac.algorithm import FlowPolicy
from sb3_flowsac.checks import integer
from sb3_flowsac.plotting.style import LEARNT, MOST_COMPONENTS, OPTIMAL, PANEL_INCHES, panels, state_titles

CURVE_POINTS, IMAGE_SIDE = 400, 80
MARGIN = 0.1  # of the range of the samples, around them
COLOURS = "magma"


def action_density(
    policy: FlowPolicy, obs: Any, n_samples: int = 2000, seed: int = 0, titles: Sequence[str] | None = None
) -> Figure:
    """
    The density pi(a|s) in each of a few states: what the policy draws, not what ``predict`` makes of several.

    One action component: the density as a curve. Two: an image. More: a corner plot of samples, with histograms of the
    first six components and of their pairs. The axes, in the environment's units, cover the samples.

    :param policy: the policy
    :param obs: observations as ``predict`` takes them, single or batched
    :param n_samples: number of actions drawn in each state, at least 2
    :param seed: seed of the samples; torch's global generator is left alone
    :param titles: a title for each state; by default its number and value
    :return: the figure, states side by side or, of corner plots, below each other
    :raises ValueError: if a number is out of range
    """
    integer("n_samples", n_samples, 2)
    samples = draw(policy, obs, n_samples, seed)
    batch, _, dim = samples.shape
    titles = state_titles(obs, batch) if titles is None else titles
    if dim > 2:
        return _corners(samples[..., :MOST_COMPONENTS], titles)
    low, high = _region(policy, samples)
    grid = _box_grid(low, high)
    density = _grid_density(policy, obs, grid)
    figure, grid_axes = panels(1, batch)
    for i, axes in enumerate(grid_axes[0]):
        axes.set_title(titles[i], fontsize="small")
        if dim == 1:
            axes.fill_between(grid[i, :, 0], density[i], color=LEARNT, alpha=0.3, linewidth=0.0)
            axes.plot(grid[i, :, 0], density[i], color=LEARNT)
            axes.set(xlabel="action", ylabel="density" if i == 0 else None, ylim=(0.0, None))
        else:
            _draw_image(axes, density[i], low[i], high[i])
    return figure


def density_against_target(policy: FlowPolicy, obs: Any, log_density: Callable[[Any, FloatArray], Any]) -> Figure:
    """
    The learnt density beside a known one over the whole action Box, in one row for each state.

    With ``BoltzmannBandit-v0`` the known one is ``env.unwrapped.target.log_density``.

    :param policy: a policy of one or two action components
    :param obs: a batch of observations
    :param log_density: logarithm of the known density, from the observations and actions (batch, n, action_dim) in the
        environment's units to (batch, n)
    :return: the figure
    :raises ValueError: if the actions have more than two components
    """
    low, high = (bound.cpu().numpy()[None] for bound in (policy.box.low, policy.box.high))
    dim = low.shape[1]
    if dim > 2:
        raise ValueError(
            f"density_against_target draws actions of 1 or 2 components, got {dim}; action_density draws more"
        )
    batch = len(draw(policy, obs, 1, seed=0))
    grid = _box_grid(low.repeat(batch, 0), high.repeat(batch, 0))
    learnt, known = _grid_density(policy, obs, grid), np.exp(np.asarray(log_density(obs, grid)))
    figure, rows = panels(batch, dim)
    for i, (row, title) in enumerate(zip(rows, state_titles(obs, batch), strict=True)):
        if dim == 1:
            row[0].plot(grid[i, :, 0], known[i], "--", color=OPTIMAL, label="target")
            row[0].plot(grid[i, :, 0], learnt[i], color=LEARNT, label="learnt")
            row[0].set(xlabel="action", ylabel="density", ylim=(0.0, None))
            row[0].set_title(title, fontsize="small")
            row[0].legend(fontsize="small")
            continue
        for axes, name, density in zip(row, ("target", "learnt"), (known, learnt), strict=True):
            _draw_image(axes, density[i], low[0], high[0], largest=known[i].max())
            axes.set_title(f"{name}, {title}", fontsize="small")
    return figure


def draw(policy: FlowPolicy, obs: Any, n: int, seed: int) -> FloatArray:
    """Actions of the policy in the environment's units, n in each state, (batch, n, action_dim)."""
    generator = torch.Generator(policy.device).manual_seed(seed)
    with torch.no_grad():
        return np.asarray(policy.sample(obs, n, generator)[0].cpu().numpy(), dtype=np.float64)


def _region(policy: FlowPolicy, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bounds (batch, dim) of the points with a margin; of a squashed policy, within the Box."""
    low, high = points.min(axis=1), points.max(axis=1)
    margin = MARGIN * np.maximum(high - low, np.finfo(np.float32).eps * (1.0 + np.abs(high)))
    low, high = low - margin, high + margin
    if not policy.squash_output:
        return low, high
    return np.maximum(low, policy.box.low.cpu().numpy()), np.minimum(high, policy.box.high.cpu().numpy())


def _box_grid(low: FloatArray, high: FloatArray) -> FloatArray:
    """Points (batch, n, dim) that fill boxes of one or two dimensions, in rows of the second if there are two."""
    if low.shape[1] == 1:
        return np.linspace(low, high, CURVE_POINTS, axis=1)
    cell = (np.arange(IMAGE_SIDE) + 0.5) / IMAGE_SIDE
    unit = np.stack(np.meshgrid(cell, cell), axis=-1).reshape(1, -1, 2)
    return np.asarray(low[:, None] + (high - low)[:, None] * unit)


def _grid_density(policy: FlowPolicy, obs: Any, grid: FloatArray) -> FloatArray:
    with torch.no_grad():
        return np.exp(policy.log_prob(obs, grid).cpu().numpy().astype(np.float64))


def _draw_image(
    axes: Axes, density: FloatArray, low: FloatArray, high: FloatArray, largest: float | None = None
) -> None:
    image, extent = density.reshape(IMAGE_SIDE, IMAGE_SIDE), (low[0], high[0], low[1], high[1])
    axes.imshow(image, origin="lower", extent=extent, aspect="auto", vmin=0.0, vmax=largest, cmap=COLOURS)
    axes.set(xlabel="action 1", ylabel="action 2")


def _corners(samples: FloatArray, titles: Sequence[str]) -> Figure:
    """Histograms of each component on the diagonal and of each pair below it, for each state."""
    batch, _, dim = samples.shape
    side = 0.55 * PANEL_INCHES * dim
    figure = Figure(figsize=(side, side * batch), layout="constrained")
    for part, actions, title in zip(figure.subfigures(batch, 1, squeeze=False)[:, 0], samples, titles, strict=True):
        part.suptitle(title, fontsize="small")
        for (i, j), axes in np.ndenumerate(part.subplots(dim, dim, squeeze=False, sharex="col")):
            axes.tick_params(labelsize="x-small")
            if i == j:
                axes.hist(actions[:, i], bins=40, color=LEARNT, histtype="stepfilled", alpha=0.6)
                axes.set_yticks([])
            elif j < i:
                axes.hist2d(actions[:, j], actions[:, i], bins=40, cmap=COLOURS)
            else:
                axes.set_axis_off()
            if i == dim - 1:
                axes.set_xlabel(f"action {j + 1}", fontsize="x-small")
            if j == 0 and i > 0:
                axes.set_ylabel(f"action {i + 1}", fontsize="x-small")
    return figure
