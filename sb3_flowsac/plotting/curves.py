"""Learning curves: what Stable-Baselines3 has written about runs, with bands over seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import stats
from stable_baselines3.common.monitor import get_monitor_files, load_results

from maxent_envs.validation import FloatArray
from sb3_flowsac.checks import integer
from sb3_flowsac.plotting.style import panels

Curve = tuple[FloatArray, FloatArray]
"""Environment steps, increasing, and a figure at each of them."""

POINTS = 200
CONFIDENCE = 0.95
EVALUATIONS = "evaluations.npz"  # what SB3's EvalCallback writes


def read_curve(path: str | Path, window: int = 100) -> Curve:
    """
    The returns of a run over environment steps, from what Stable-Baselines3 wrote.

    :param path: ``evaluations.npz`` of an ``EvalCallback``, or a folder: with such a file in it, or else with the files
        of a ``Monitor``
    :param window: number of episodes over which a ``Monitor``'s returns are averaged, as in ``rollout/ep_rew_mean``;
        fewer if the run has fewer
    :return: steps and mean returns
    :raises ValueError: if there is no such file, or it holds no return; names the path
    """
    path = Path(path)
    integer("window", window, 1)
    evaluations = path / EVALUATIONS if path.is_dir() else path
    if evaluations.is_file():
        with np.load(evaluations) as content:
            steps, returns = content["timesteps"].astype(float), content["results"].mean(axis=1)
    elif path.is_dir() and get_monitor_files(str(path)):
        # It imports pyplot, which no training needs
        from stable_baselines3.common.results_plotter import X_TIMESTEPS, ts2xy, window_func

        steps, returns = ts2xy(load_results(str(path)), X_TIMESTEPS)
        steps, returns = window_func(steps.astype(float), returns, min(window, len(steps)), np.mean)
    else:
        raise ValueError(f"{path} is neither {EVALUATIONS} nor a folder with one or with files of a Monitor")
    if not len(steps):
        raise ValueError(f"{path} holds no return")
    return steps, returns


def learning_curves(runs: Mapping[str, Sequence[Curve]], ylabel: str = "mean return") -> Figure:
    """
    A line for each algorithm: the mean over its runs, with a band of the mean's 95% confidence interval (Student's t).

    Runs are interpolated between their points, and shown over the steps that all runs of an algorithm have.

    :param runs: for each label the runs with different seeds, see ``read_curve``; a single run has no band
    :param ylabel: what the values are
    :return: the figure
    :raises ValueError: if a label has no run, or runs without a step in common
    """
    figure, ((axes,),) = panels(1, 1, scale=1.5)
    for number, (label, curves) in enumerate(runs.items()):
        steps, values = _on_common_steps(label, curves)
        mean, colour = values.mean(axis=0), f"C{number}"
        marker = "o" if steps[0] == steps[-1] else None  # one point would be no line
        name = label
        if len(values) > 1:
            name = f"{label} ({len(values)} runs)"
            width = stats.t.ppf(0.5 * (1.0 + CONFIDENCE), len(values) - 1) * stats.sem(values, axis=0)
            axes.fill_between(steps, mean - width, mean + width, color=colour, alpha=0.2, linewidth=0.0)
        axes.plot(steps, mean, color=colour, marker=marker, label=name)
    axes.set(xlabel="environment steps", ylabel=ylabel)
    axes.locator_params(axis="x", nbins=5)
    axes.legend(fontsize="small")
    return figure


def _on_common_steps(label: str, curves: Sequence[Curve]) -> Curve:
    """Steps (n,), and the value of each run there (runs, n)."""
    if not curves:
        raise ValueError(f"runs[{label!r}] is empty; at least one run is needed")
    first, last = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    if first > last:
        raise ValueError(f"runs[{label!r}]: one run ends at step {last:g}, before another starts at {first:g}")
    common = np.linspace(first, last, POINTS)
    return common, np.stack([np.interp(common, steps, values) for steps, values in curves])
