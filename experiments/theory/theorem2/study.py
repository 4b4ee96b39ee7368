"""The study: cells over N and over the sampling distribution, their slopes, a table and a picture."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from experiments.runner.arguments import distinct_seeds
from experiments.runner.tasks import Backend, Result, Task, run_tasks, write_json
from experiments.runner.versions import machine, versions
from experiments.theory.theorem2.distances import gaussian_renyi
from experiments.theory.theorem2.fit import TARGET_COV, TARGET_MEAN, Cell, FitSettings, fit_cell, target
from experiments.theory.theorem2.plots import theorem2_figure
from experiments.theory.theorem2.slopes import log_mean_slope
from sb3_flowsac.checks import integer
from sb3_flowsac.plotting import save_figure

N_SAMPLES = (32, 128, 512, 2048, 8192)
SHIFTS = (0.0, 1.0, 1.5, 1.75, 2.0, 2.25)
SHIFT_OF_BASE = float(np.linalg.norm(TARGET_MEAN))  # h = N(0, I), the flow's base distribution
N_OF_SHIFTS = 1024
FIT = FitSettings()
DISTANCES = ("upper", "lower")
REPORTED = (*DISTANCES, "empirical")
TARGET = {"target_mean": TARGET_MEAN, "target_cov": TARGET_COV}
BOUND = {"n_samples": -0.5, "renyi_4": 0.75}

CONDITIONS = """\
Bound of Theorem 2: E W2^2 <= C' N^(-1/2) exp(3/4 R_4(pi_new || h)).
Met: one state; a fixed Q; h of known density, positive everywhere; N samples drawn once; exact weights (their constant
     does not move the minimiser).
Not met: a finite parameter set (here a network), the exact minimiser (Adam, t and a_0 drawn anew), the exact ODE (20
RK4
     steps), a field Lipschitz by construction. What training leaves with samples without end is the floor; means under
     5 times it count for no slope.
A bound from above allows any faster rate, and says nothing on a policy and a critic that learn together."""


def run_theorem2(
    *,
    out: Path,
    jobs: int | Backend = 1,
    n_samples: Sequence[int] = N_SAMPLES,
    shifts: Sequence[float] = SHIFTS,
    seeds: Sequence[int] = tuple(range(10)),
    fit: FitSettings = FIT,
) -> dict[str, Any]:
    r"""
    Fit flows to N weighted samples and measure the squared W2 distance from the target, as Theorem 2 bounds it.

    One state; the target pi_new is a correlated Gaussian in two dimensions, the sampling distribution h a Gaussian of
    unit covariance. N grows with h at the flow's base distribution; then h moves away from the target, so that the
    Renyi divergence R_4(pi_new || h) grows, with N = 1024. Slopes of log E W2^2 stand beside the bound's -1/2 (against
    log N) and 3/4 (against R_4).

    The main figure is ``upper``, the mean squared distance between where the learnt flow and the target's own flow take
    the same noise: an upper bound of W2^2 without sampling error, and what the theorem's proof bounds. ``lower`` is the
    distance of Gaussians with the same moments. ``empirical`` is the distance of 1,000 learnt samples from 1,000 of the
    target; ``empirical_zero``, that of two samples of the target, says how much of it is due to the finite number.

    Of the theorem's conditions the experiment meets: one state, a fixed Q, exact weights. It does not meet: a finite
    parameter set, the exact minimiser, the exact ODE.

    Writes ``theorem2.json`` and ``theorem2.png`` to ``out`` and prints a table. Results of single cells are kept in
    ``out/theorem2``; a study that was broken off goes on from them.

    :param out: folder for the results, made if needed
    :param jobs: number of cells at the same time, each in a process of its own if more than one
    :param n_samples: values of N, each at least 2
    :param shifts: distances of h's mean from the target's
    :param seeds: seeds, at least two; each has samples and a flow of its own
    :param fit: how the flows are fitted
    :return: what ``theorem2.json`` holds
    :raises ValueError: if an argument is out of range
    """
    cells = _cells(n_samples, shifts, seeds, fit)
    console = Console()
    tasks = [Task(name, fit_cell, {"cell": cell}, {**asdict(cell), **TARGET}) for name, cell in cells.items()]
    results = run_tasks(tasks, Path(out) / "theorem2", jobs, console)
    entries = {name: _entry(cell, result) for (name, cell), result in zip(cells.items(), results, strict=True)}
    floor = entries.pop("floor")
    by_n = [entry for name, entry in entries.items() if name.startswith("n-")]
    by_shift = [entry for name, entry in entries.items() if name.startswith("shift-")]
    content = {
        "versions": versions(),
        "machine": machine(),
        "settings": {**TARGET, "seeds": list(seeds), "fit": asdict(fit)},
        "bound": BOUND,
        "floor": floor,
        "by_n_samples": by_n,
        "by_renyi_4": by_shift,
        "slopes": {"n_samples": _slopes(by_n, "n_samples", floor), "renyi_4": _slopes(by_shift, "renyi_4", floor)},
        "rank_correlation": _rank_correlation(by_shift),
    }
    write_json(Path(out) / "theorem2.json", content)
    save_figure(theorem2_figure(content), Path(out) / "theorem2.png")
    _report(console, content, Path(out))
    return content


def _cells(
    n_samples: Sequence[int], shifts: Sequence[float], seeds: Sequence[int], fit: FitSettings
) -> dict[str, Cell]:
    numbers = distinct_seeds(seeds, at_least=2)
    if any(not 0.0 <= shift < np.inf for shift in shifts):
        raise ValueError(f"shifts must be finite and not negative, got {list(shifts)}")
    cells = {"floor": Cell(None, 0.0, numbers, fit)}
    cells |= {f"n-{n}": Cell(integer("n_samples", n, 2), SHIFT_OF_BASE, numbers, fit) for n in n_samples}
    return cells | {f"shift-{shift:g}": Cell(N_OF_SHIFTS, float(shift), numbers, fit) for shift in shifts}


def _entry(cell: Cell, result: Result) -> dict[str, Any]:
    if cell.n_samples is None:
        return {key: result[key] for key in (*REPORTED, "empirical_zero")}
    renyi = gaussian_renyi(4.0, target(), cell.sampling)
    return {"n_samples": cell.n_samples, "shift": cell.shift, "renyi_4": renyi, **result}


def _slopes(entries: Sequence[dict[str, Any]], against: str, floor: dict[str, Any]) -> dict[str, Any]:
    """Slopes of both bounds of W2^2, against log N or against R_4."""
    x = [float(entry[against]) for entry in entries]
    places = list(np.log(x)) if against == "n_samples" else x
    found = {
        key: log_mean_slope(places, [entry[key] for entry in entries], float(np.mean(floor[key]))) for key in DISTANCES
    }
    return {key: None if slope is None else asdict(slope) for key, slope in found.items()}


def _rank_correlation(entries: Sequence[dict[str, Any]]) -> float:
    """Spearman's, of R_4 and the mean upper bound: 1 if the distance grows from each sampling distribution to the
    next."""
    return float(spearmanr([entry["renyi_4"] for entry in entries], [np.mean(entry["upper"]) for entry in entries])[0])


def _report(console: Console, content: dict[str, Any], out: Path) -> None:
    table = Table(title=f"Squared W2 distance, mean (standard error) over {len(content['settings']['seeds'])} seeds")
    for column in ("N", "R_4", "ESS", *REPORTED):
        table.add_column(column, justify="right", no_wrap=True)
    for entries in (content["by_n_samples"], content["by_renyi_4"]):
        for entry in entries:
            table.add_row(
                f"{entry['n_samples']}", f"{entry['renyi_4']:.2f}", f"{np.mean(entry['ess']):.0f}", *_figures(entry)
            )
        table.add_section()
    table.add_row("endless", "", "", *_figures(content["floor"]))
    console.print(table)
    print(f"Empirical distance of two samples of the target: {np.mean(content['floor']['empirical_zero']):.2g}")
    for against, label in (("n_samples", "log N"), ("renyi_4", "R_4")):
        for key, slope in content["slopes"][against].items():
            print(f"Slope of log W2^2 ({key}) against {label}: {_slope_text(slope)}; the bound's: {BOUND[against]:g}")
    print(f"Rank correlation of W2^2 and R_4: {content['rank_correlation']:.2f}\n{CONDITIONS}")
    print(f"Results: {out / 'theorem2.json'}\nPicture: {out / 'theorem2.png'}")


def _figures(entry: dict[str, Any]) -> list[str]:
    return [f"{np.mean(entry[k]):.2g} ({np.std(entry[k], ddof=1) / len(entry[k]) ** 0.5:.1g})" for k in REPORTED]


def _slope_text(slope: dict[str, Any] | None) -> str:
    if slope is None:
        return "too few means above the floor"
    return f"{slope['value']:.2f} (95%: {slope['low']:.2f} to {slope['high']:.2f}; {slope['n_cells']} means)"
