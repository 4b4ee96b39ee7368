"""The way of actions from noise: what the steps of the flow do."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from maxent_envs.validation import FloatArray
from sb3_flowsac.algorithm import FlowPolicy
from sb3_flowsac.checks import integer
from sb3_flowsac.flow import NormalizedPath, integrate
from sb3_flowsac.plotting.style import LEARNT, MOST_COMPONENTS, NOISE, panels, state_titles


def flow_paths(
    policy: FlowPolicy, obs: Any, n_paths: int = 100, seed: int = 0, titles: Sequence[str] | None = None
) -> Figure:
    """
    Where the solver's steps take samples, from a draw of the base distribution (grey) to the action (blue).

    Two action components: in the plane of both, a panel for each state. Otherwise each of the first six components
    against the flow's time, a row for each state. The axes are in the environment's units; a flow in whitened
    coordinates is shown in those of the action.

    :param policy: the policy
    :param obs: observations as ``predict`` takes them, single or batched
    :param n_paths: number of samples in each state
    :param seed: seed of the noise; torch's global generator is left alone
    :param titles: a title for each state; by default its number and value
    :return: the figure
    :raises ValueError: if a number is out of range
    """
    integer("n_paths", n_paths, 1)
    times, paths = trace_paths(policy, obs, n_paths, seed)
    batch, _, _, dim = paths.shape
    titles = state_titles(obs, batch) if titles is None else titles
    figure, grid = panels(*((1, batch) if dim == 2 else (batch, min(dim, MOST_COMPONENTS))))
    for (row, column), axes in np.ndenumerate(grid):
        state = column if dim == 2 else row
        if dim == 2:
            x, y = paths[state].T
            axes.set(xlabel="action 1", ylabel="action 2")
        else:
            x, y = np.repeat(times[:, None], n_paths, axis=1), paths[state, ..., column].T
            axes.set(xlabel="time of the flow", ylabel=f"action {column + 1}" if dim > 1 else "action")
        axes.set_title(titles[state], fontsize="small")
        axes.plot(x, y, color=LEARNT, linewidth=0.5, alpha=0.4)
        axes.scatter(x[0], y[0], s=6, color=NOISE, edgecolors="none", zorder=3)
        axes.scatter(x[-1], y[-1], s=6, color=LEARNT, edgecolors="none", zorder=3)
    return figure


@torch.no_grad()
def trace_paths(policy: FlowPolicy, obs: Any, n_paths: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """
    The points between the solver's steps. In whitened coordinates x_t these are loc + L r_t x_t, see
    ``NormalizedPath``. Arguments are those of ``flow_paths``.

    :return: times (steps + 1,), and points in the environment's units (batch, n_paths, steps + 1, action_dim)
    """
    distribution = policy.actor.distribution(policy.obs_to_tensor(obs)[0])
    flow = distribution.flow
    points = [distribution.noise(n_paths, torch.Generator(policy.device).manual_seed(seed))]
    for step in pairwise(flow.grid):
        points.append(integrate(distribution.velocity, points[-1], step, flow.solver).x)
    spread = [(t**2 + (1.0 - t) ** 2) ** 0.5 if isinstance(flow.path, NormalizedPath) else 1.0 for t in flow.grid]
    latents = [distribution.base.unwhiten(r * point) for r, point in zip(spread, points, strict=True)]
    actions = policy.box.unscale(policy.actor.transform(torch.stack(latents, dim=2)))
    return np.array(flow.grid), actions.cpu().numpy().astype(np.float64)
