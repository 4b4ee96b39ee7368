"""The study's settings on all presets and on random systems: figures, verdicts, distributions, a page of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import maxent_envs
from experiments.lqr.algorithms import run_task
from experiments.lqr.training_log import BRIEF_EVALUATION
from experiments.runner.arguments import distinct, distinct_seeds
from experiments.runner.figures import panels
from experiments.runner.tables import markdown_table
from experiments.runner.tasks import Backend, Result, Task, run_tasks, write_json, write_text
from experiments.runner.versions import machine, versions
from maxent_envs import LQRProblem
from sb3_flowsac.checks import positive
from sb3_flowsac.lqr_study.training import TIMESTEPS, RunSpec, execute
from sb3_flowsac.lqr_study.verdict import LEARNT, figures
from sb3_flowsac.plotting import draw_actions, save_figure

ALPHAS = (0.1, 1.0)
SEEDS = (0, 1, 2)
SIZE, POINTS = (8.0, 5.8), 100  # inches, and actions shown as points: the file stays below 150 kB
OURS = ("default", "scalar", "six-state", "unstable")  # presets that are not of the literature: a run each, last
RANDOM_SIZE = (12, 6)  # states and inputs
RANDOM_SEEDS, RANDOM_ALPHA = (0, 1, 2, 3, 4), 0.5
IN_TABLE = ("mean error", "covariance error", "loss of return")  # of a verdict's figures
KEPT = ("alpha", "seed", "timesteps", "mean_error", "cov_error", "mean_floor", "cov_floor", "return", "optimal_return")
KEPT += ("return_se", "critic_residual", "seconds", "verdict")


def run_systems(
    *,
    alphas: Sequence[float] = ALPHAS,
    seeds: Sequence[int] = SEEDS,
    out: Path,
    timesteps: int = TIMESTEPS,
    jobs: int | Backend = 1,
    command: str = "",
) -> list[dict[str, Any]]:
    """
    Learn the literature's presets at each temperature and seed, our own ones at the last temperature and first seed,
    and a random system of 12 states and 6 inputs for each of 5 seeds.

    Writes ``lqr_systems.json`` (figures of each run), ``lqr_systems.png`` (learnt and optimal actions of each preset)
    and ``lqr_systems.md`` (a page of both) to ``out``, and keeps each run under ``systems``.

    :param alphas: temperatures of the presets, positive
    :param seeds: seeds of the presets' runs, not negative
    :param out: folder for the results, made if needed
    :param timesteps: environment steps of a run
    :param jobs: number of runs at the same time
    :param command: the command line to name in the results
    :return: an entry for each run: ``system`` and figures of the study's ``results.json``
    """
    presets = {name: maxent_envs.preset(name) for name in sorted(maxent_envs.PRESETS)}
    random = {f"random-{seed}": maxent_envs.random_problem(*RANDOM_SIZE, seed=seed) for seed in RANDOM_SEEDS}
    alphas, seeds = distinct("alphas", alphas, positive), distinct_seeds(seeds)
    # All systems before the next seed: what is finished is comparable whenever one stops
    runs = [(name, alpha, seed) for seed in seeds for name in presets if name not in OURS for alpha in alphas]
    runs += [(name, alphas[-1], seeds[0]) for name in OURS]
    runs += [(name, RANDOM_ALPHA, seed) for name, seed in zip(random, RANDOM_SEEDS, strict=True)]
    tasks = [_task(name, {**presets, **random}[name], alpha, seed, timesteps, Path(out)) for name, alpha, seed in runs]
    results = run_tasks(tasks, Path(out), jobs, Console())
    entries = [
        {"system": name, **{key: result["row"][key] for key in KEPT}}
        for (name, _, _), result in zip(runs, results, strict=True)
    ]
    content = {"command": command, "versions": versions(), "machine": machine(), "runs": entries}
    write_json(out / "lqr_systems.json", content)
    examples = {
        name: result
        for (name, alpha, seed), result in zip(runs, results, strict=True)
        if name in presets and (alpha, seed) == (alphas[-1], seeds[0])
    }
    save_figure(distributions_figure(examples), out / "lqr_systems.png")
    write_text(out / "lqr_systems.md", page(entries, command))
    return entries


def _task(name: str, problem: LQRProblem, alpha: float, seed: int, timesteps: int, out: Path) -> Task:
    spec = RunSpec(problem, alpha, seed, timesteps, out / "systems" / name, curve_evaluation=BRIEF_EVALUATION)
    return run_task(f"systems/{name}/{spec.name}", execute, spec)


def distributions_figure(examples: Mapping[str, Result]) -> Figure:
    """
    Learnt and optimal actions of one run of each preset, in the middle one of its example states.

    :param examples: what ``training.execute`` has found, by the preset's name
    """
    figure, axes = panels(list(examples))
    figure.set_size_inches(SIZE)
    for name, result in examples.items():
        state, actions = (np.array(result["examples"][key][1]) for key in ("states", "actions"))
        draw_actions(axes[name], maxent_envs.preset(name).solve(result["row"]["alpha"]), state, actions, POINTS)
        axes[name].set(xlabel="", ylabel="")
        axes[name].locator_params(nbins=4)
        axes[name].tick_params(labelsize="small")
    wide = next(axes[name] for name, result in examples.items() if np.shape(result["examples"]["actions"])[-1] > 1)
    figure.legend(*wide.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def page(entries: Sequence[Mapping[str, Any]], command: str) -> str:
    """
    The page of docs.

    :param entries: what ``run_systems`` returns
    :param command: the command line that has made them
    """
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for entry in entries:
        name = "random" if entry["system"].startswith("random-") else entry["system"]
        groups.setdefault((name, entry["alpha"]), []).append(entry)
    rows = []
    for (name, alpha), group in sorted(groups.items()):
        worst = {key: max(figures(entry)[key] for entry in group) for key in IN_TABLE}
        learnt = f"{sum(entry['verdict'] == LEARNT for entry in group)} of {len(group)}"
        seconds = f"{max(entry['seconds'] for entry in group):.0f} s"
        rows.append([f"`{name}`", f"{alpha:g}", *(f"{value:.1%}" for value in worst.values()), learnt, seconds])
    headings = ("system", "alpha", "mean error", "covariance error", "return below the optimum", "learnt", "time")
    n, m = RANDOM_SIZE
    return f"""# LQRs of the literature

[`flowsac lqr`](lqr.md) with its own settings on all [presets](environments.md#problems), and on {len(RANDOM_SEEDS)}
random systems of {n} states and {m} inputs (`random`): {entries[0]["timesteps"]:,} environment steps, the worst seed in
each column. An error counts with its sampling floor. [All figures](calibration/lqr_systems.json).

    {command}

{markdown_table(headings, rows)}

## Learnt and optimal distributions

Alpha {entries[-1 - len(RANDOM_SEEDS)]["alpha"]:g} and the first seed, in a visited state of median distance from the
origin: 10,000 actions in units of the input. Two inputs or more: 2-sigma ellipses of the first two. One input: a
histogram, and the optimum's density.

![](lqr_systems.png)
"""
