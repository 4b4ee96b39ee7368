"""How far the study's settings reach: FlowSAC on random linear systems of growing size, each with its known optimum."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.lqr.algorithms import run_task
from experiments.lqr.publish import publish
from experiments.lqr.training_log import BRIEF_EVALUATION, train_and_read_log
from experiments.runner.arguments import distinct, distinct_seeds
from experiments.runner.tables import table_of
from experiments.runner.tasks import Backend, Result, run_tasks
from maxent_envs import random_problem
from sb3_flowsac.checks import integer, positive
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.lqr_study.training import FINAL_EVALUATION, TIMESTEPS, RunSpec
from sb3_flowsac.plotting import LEARNT, OPTIMAL

DIVERGENCE = (FloatingPointError, OverflowError)


def run_growing(
    *,
    sizes: Sequence[int] = (2, 6, 12, 24),
    alpha: float = 0.5,
    seeds: Sequence[int] = (0,),
    out: Path,
    timesteps: int | None = None,
    evaluation: EvaluationSettings = FINAL_EVALUATION,
    jobs: int | Backend = 1,
) -> list[Result]:
    """
    Learn random stabilizable problems with n states and m = n / 2 inputs, with the study's settings.

    What may fail as m grows, and the figure of a row that shows it: the critic has (n + m)(n + m + 1) / 2 + 1 numbers
    to learn from the same data (critic_loss), the importance weights of a fixed number of proposals degenerate (ess at
    its floor, 1 / n_proposals), the policy leaves the Box (clip fractions). An ess near 1 beside large errors says that
    the policy fits its critic and that the critic is wrong.

    Writes ``growing.json`` and ``growing.png`` to ``out``, keeps each run under ``growing``, prints a table.

    :param sizes: numbers of states n, at least 2; the number of inputs is n / 2, rounded down
    :param alpha: temperature
    :param seeds: seeds, each of a problem and of the run on it
    :param out: folder for the results, made if needed
    :param timesteps: environment steps of a run; by default the study's, the same for every size: the rows show what
        one budget buys
    :param evaluation: size of the comparison with the optimum
    :param jobs: number of runs at the same time
    :return: a row for each size and seed: n_states, n_inputs, critic_entries, timesteps, failure
        (``None``, or what ended the run) and, of a run that ended well, the entries of the study's ``results.json`` and
        of ``training_figures``
    :raises ValueError: if an argument is out of range
    """
    alpha, out = positive("alpha", alpha), Path(out)
    specs = [
        _spec(n, alpha, seed, timesteps, out, evaluation)
        for n in distinct("sizes", sizes, partial(integer, low=2))
        for seed in distinct_seeds(seeds)
    ]
    console = Console()
    console.print(
        "Environment steps: " + ", ".join(f"{spec.timesteps:,} (n = {spec.problem.n_states})" for spec in specs)
    )
    tasks = [run_task(_name(spec), learn_and_compare, spec) for spec in specs]
    rows = run_tasks(tasks, out, jobs, console)
    publish("growing", rows, _figure(rows), [_table(rows)], out, console)
    return rows


def _spec(n: int, alpha: float, seed: int, timesteps: int | None, out: Path, evaluation: EvaluationSettings) -> RunSpec:
    problem = random_problem(n_states=n, n_inputs=n // 2, seed=seed)
    steps = TIMESTEPS if timesteps is None else integer("timesteps", timesteps, 1)
    folder = out / "growing" / f"n-{n}"
    return RunSpec(problem, alpha, seed, steps, folder, evaluation=evaluation, curve_evaluation=BRIEF_EVALUATION)


def _name(spec: RunSpec) -> str:
    return f"growing/n-{spec.problem.n_states}/{spec.name}"


def learn_and_compare(spec: RunSpec) -> Result:
    """
    One row: a run, what its log says of the training, and the error that sampling alone leaves.

    :param spec: the run
    :return: the row, see ``run_growing``
    """
    problem, size = spec.problem, spec.problem.n_states + spec.problem.n_inputs
    row = {
        "n_states": problem.n_states,
        "n_inputs": problem.n_inputs,
        "critic_entries": size * (size + 1) // 2 + 1,
        "alpha": spec.alpha,
        "seed": spec.seed,
        "timesteps": spec.timesteps,
    }
    try:
        return {**row, **train_and_read_log(spec), "failure": None}
    except DIVERGENCE as error:
        return {**row, "failure": str(error)}


def _figure(rows: Sequence[Result]) -> Figure:
    """Against the number of inputs: errors with the estimator's floors, the loss of return, the figures of the
    training."""
    figure = Figure(figsize=(11.0, 3.2), layout="constrained")
    errors, gap, training = figure.subplots(1, 3)
    learnt = [row for row in rows if row["failure"] is None]
    for name, colour in (("mean", LEARNT), ("cov", "tab:orange")):
        _points(errors, learnt, f"{name}_error", "o", colour, name, 100.0)
        _points(errors, learnt, f"{name}_floor", "_", OPTIMAL, f"{name}, what sampling leaves", 100.0)
    errors.set_ylabel("error relative to the optimum (%)")
    errors.set_yscale("log")
    losses = [100.0 * _relative_gap(row) for row in learnt]
    bars = [200.0 * row["return_se"] / abs(row["optimal_return"]) for row in learnt]
    gap.errorbar(
        [row["n_inputs"] for row in learnt], losses, yerr=bars, fmt="o", color=LEARNT, label="2 standard errors"
    )
    gap.axhline(0.0, linestyle="--", color=OPTIMAL, linewidth=1.0)
    gap.set_ylabel("return below the optimum's (%)")
    gap.set_yscale("symlog", linthresh=1.0)
    _points(training, learnt, "ess", "o", LEARNT, "effective sample size", 1.0)
    _points(training, learnt, "clip_fraction", "s", "tab:orange", "clipped components", 1.0)
    training.set_ylabel("share at the end of training")
    training.set_ylim(0.0, 1.0)
    inputs = sorted({row["n_inputs"] for row in rows})
    for axes in (errors, gap, training):
        axes.set_xscale("log")
        axes.set_xlim(inputs[0] / 1.5, inputs[-1] * 1.5)
        axes.set_xticks(inputs, [f"{m}" for m in inputs])
        axes.minorticks_off()
        axes.set_xlabel("number of inputs m")
        axes.legend(fontsize="small")
    return figure


def _points(axes: Axes, rows: Sequence[Result], key: str, marker: str, colour: str, label: str, unit: float) -> None:
    found = [(row["n_inputs"], unit * row[key]) for row in rows if row[key] is not None]
    axes.plot([m for m, _ in found], [value for _, value in found], marker, color=colour, label=label)


def _relative_gap(row: Result) -> float:
    """How far the return lies below the optimum's, relative to it."""
    return float((row["optimal_return"] - row["return"]) / abs(row["optimal_return"]))


def _table(rows: Sequence[Result]) -> Table:
    title = "FlowSAC on random linear systems (in brackets: what sampling can have made of the error)"
    headings = ("n", "m", "seed", "mean error", "cov. error", "return gap", "ess", "clipped", "updates", "seconds")
    return table_of(title, headings, map(_cells, rows))


def _cells(row: Result) -> list[str]:
    run = [f"{row['n_states']}", f"{row['n_inputs']}", f"{row['seed']}"]
    if row["failure"] is not None:
        return [*run, f"failed: {row['failure']}"]
    return [
        *run,
        f"{row['mean_error']:.1%} ({row['mean_floor']:.1%})",
        f"{row['cov_error']:.1%} ({row['cov_floor']:.1%})",
        f"{_relative_gap(row):.2%}",
        "" if row["ess"] is None else f"{row['ess']:.2f}",
        f"{row['clip_fraction']:.2%}",
        f"{row['updates']:,}",
        f"{row['seconds']:.0f}",
    ]
