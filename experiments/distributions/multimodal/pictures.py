"""What was learnt, drawn beside what is right."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.distributions.multimodal.bandits import OWN
from experiments.distributions.multimodal.peers import NAMES
from experiments.runner.figures import panels
from experiments.runner.tasks import Result
from maxent_envs.multi_goal import plot_rollouts
from sb3_flowsac.plotting import LEARNT, OPTIMAL

COLOURS = {"flowsac": "tab:blue", "sac": "tab:orange", "tqc": "tab:green"}
PANEL = 2.6  # inches
Runs = dict[tuple[str, str], dict[int, Result]]
"""Results by target and algorithm, then by seed."""


def density_figure(runs: Runs) -> Figure:
    """Actions of each learnt policy in one state over the target's density there: a row for each target, the first
    seed."""
    targets, algos = (list(dict.fromkeys(key[i] for key in runs)) for i in (0, 1))
    figure = Figure(figsize=(PANEL * len(algos), PANEL * len(targets)), layout="constrained")
    grid = figure.subplots(len(targets), len(algos), squeeze=False)
    for target, row in zip(targets, grid, strict=True):
        for algo, axes in zip(algos, row, strict=True):
            seeds = runs.get((target, algo))
            if seeds:
                _draw_density(axes, target, seeds[min(seeds)])
                axes.set_title(f"{target}, {NAMES[algo]}", fontsize="small")
            else:
                axes.set_axis_off()
    return figure


def _draw_density(axes: Axes, name: str, result: Result) -> None:
    target, state, actions = OWN[name](), np.array([result["state"]]), np.array(result["actions"])
    side = np.linspace(-1.0, 1.0, 201)
    if target.action_dim == 1:
        axes.hist(actions[:, 0], bins=60, range=(-1.0, 1.0), density=True, color=LEARNT, alpha=0.5)
        axes.plot(side, np.exp(target.log_density(state, side[None, :, None])[0]), color=OPTIMAL, linewidth=1.0)
        return
    points = np.stack(np.meshgrid(side, side), axis=-1)
    log_density = target.log_density(state, points.reshape(1, -1, 2)).reshape(points.shape[:2])
    axes.scatter(*actions[:, :2].T, s=2, alpha=0.3, color=LEARNT, edgecolors="none")
    levels = log_density.max() - np.array([4.5, 2.0, 0.5])  # 3, 2 and 1 standard deviations of a Gaussian
    axes.contour(side, side, log_density, levels=levels, colors=OPTIMAL, linewidths=0.6, linestyles="solid")
    axes.set(xlim=(-1.0, 1.0), ylim=(-1.0, 1.0), aspect="equal")


def progress_figure(runs: Runs, goal: float) -> Figure:
    """The divergence of every run over environment steps, a panel for each target."""
    targets = list(dict.fromkeys(target for target, _ in runs))
    figure, axes_of = panels(targets)
    for target, axes in axes_of.items():
        for (of, algo), seeds in runs.items():
            for seed, result in seeds.items() if of == target else ():
                label = NAMES[algo] if seed == min(seeds) else None
                axes.semilogy(*np.array(result["curve"]).T, color=COLOURS[algo], linewidth=1.0, label=label)
        axes.axhline(goal, color="0.5", linewidth=0.8, linestyle=":")
        axes.set(xlabel="environment steps", ylabel="KL to the target (nats)")
    axes_of[targets[0]].legend(fontsize="small")
    return figure


def rollouts_figure(runs: dict[str, dict[int, Result]]) -> Figure:
    """Paths from the centre over the contours of the cost, a panel for each algorithm: the first seed."""
    figure = Figure(figsize=(4.0 * len(runs), 4.4), layout="constrained")
    for (algo, seeds), axes in zip(runs.items(), figure.subplots(1, len(runs), squeeze=False)[0], strict=True):
        plot_rollouts(seeds[min(seeds)]["paths"], axes)
        axes.set_title(NAMES[algo])
    return figure
