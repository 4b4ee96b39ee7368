"""The study behind ``flowsac lqr``: learn max-entropy LQRs and compare with their known optimum."""

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import maxent_envs
from maxent_envs import LQRProblem
from sb3_flowsac.algorithm.finite import DivergenceError
from sb3_flowsac.checks import integer, positive
from sb3_flowsac.files.writing import write_text
from sb3_flowsac.lqr_study.models import action_bound
from sb3_flowsac.lqr_study.plots import save_plots
from sb3_flowsac.lqr_study.processes import process_pool
from sb3_flowsac.lqr_study.training import TIMESTEPS, Result, RunSpec, execute
from sb3_flowsac.lqr_study.verdict import FAILED, advice, percent, short
from sb3_flowsac.version import __version__

# How training and the comparison with the optimum end where a run diverges: that is a result, no fault of the program
DIVERGED = (DivergenceError, OverflowError)


def run_study(
    *,
    alphas: Sequence[float],
    seeds: Sequence[int],
    out: Path,
    problem: LQRProblem | None = None,
    timesteps: int | None = None,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """
    Train FlowSAC on MaxEntLQR-v0 for each temperature and seed, and compare with the optimum.

    Writes to ``out``: each run's model and result under ``runs``, TensorBoard logs, ``results.json``, two pictures.
    Prints a table. Runs whose results an earlier start has left in ``out`` are not repeated.

    :param alphas: temperatures, positive, at least one; repeated ones count once
    :param seeds: seeds, not negative, at least one; repeated ones count once
    :param out: folder for the results, made if needed
    :param problem: the problem to learn; default the default preset of ``maxent_envs``
    :param timesteps: environment steps of a run; what the settings are made for if ``None``
    :param jobs: number of runs at the same time, each in a process of its own if more than one
    :return: the entries of ``results.json``, sorted as the arguments are: see docs/lqr.md. A run that diverged has
        ``alpha``, ``seed``, ``timesteps``, the verdict "failed" and the reason as ``failure``
    :raises ValueError: if an argument is out of range, or ``out`` holds results of another study
    """
    problem, out = maxent_envs.preset() if problem is None else problem, Path(out)
    for name, values in {"alphas": alphas, "seeds": seeds}.items():
        if not values:
            raise ValueError(f"{name} must hold 1 or more values, got {values}")
    steps = TIMESTEPS if timesteps is None else integer("timesteps", timesteps, 1)
    bars = integer("jobs", jobs, 1) == 1
    specs = [
        RunSpec(problem, alpha, seed, steps, out, progress_bar=bars)
        for alpha in dict.fromkeys(positive("alphas", alpha) for alpha in alphas)
        for seed in dict.fromkeys(integer("seeds", seed, 0) for seed in seeds)
    ]
    if len({spec.name for spec in specs}) < len(specs):
        raise ValueError(f"alphas must differ in their first six digits, which name their runs, got {list(alphas)}")
    console = Console()
    results, rows = _results(specs, jobs, console)
    write_text(out / "results.json", json.dumps(rows, indent=2) + "\n")
    pictures = save_plots(problem, results, out) if results else []
    _report(console, rows, pictures, out, problem)
    return rows


def _results(specs: Sequence[RunSpec], jobs: int, console: Console) -> tuple[list[Result], list[dict[str, Any]]]:
    """
    Results of the runs, kept ones and new ones, and the entries of all. A run that fails does not keep the others from
    ending.
    """
    missing = [spec for spec in specs if _kept(spec) is None]
    if len(missing) < len(specs):
        kept = f"{len(specs) - len(missing)} of {len(specs)} results"
        console.print(f"{kept} are kept in {specs[0].out}; delete them to compute them again")
    failures: dict[RunSpec, Exception] = {}
    for spec, failure in zip(missing, _failures(missing, min(jobs, len(missing))), strict=True):
        console.print(f"Done: {spec.name}" if failure is None else f"Failed: {spec.name}: {failure}")
        if failure is not None:
            failures[spec] = failure
    for failure in failures.values():
        if not isinstance(failure, DIVERGED):
            raise failure
    found = {spec: result for spec in specs if (result := _kept(spec)) is not None}
    rows = [found[spec]["row"] if spec in found else _diverged(spec, failures[spec]) for spec in specs]
    return list(found.values()), rows


def _diverged(spec: RunSpec, failure: Exception) -> dict[str, Any]:
    run = {"algorithm": spec.algorithm, "alpha": spec.alpha, "seed": spec.seed, "timesteps": spec.timesteps}
    return {**run, "verdict": FAILED, "failure": str(failure)}


def _kept(spec: RunSpec) -> Result | None:
    """
    The result that an earlier start has kept, if any that is whole.

    :raises ValueError: if it is of other settings
    """
    path = spec.folder / "result.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        settings, result = content["settings"], content["result"]
        differing = [name for name, value in _identity(spec).items() if settings[name] != value]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if differing:
        raise ValueError(
            f"{path} holds a result of another study ({', '.join(differing)} differ): delete it or take another folder"
        )
    return dict(result)


def _identity(spec: RunSpec) -> dict[str, Any]:
    return {**spec.settings, "sb3-flowsac": __version__}


def _failures(specs: Sequence[RunSpec], jobs: int) -> Iterator[Exception | None]:
    """Execute the runs, several at a time; of each the exception that ended it, if any."""
    if jobs <= 1:
        yield from map(_execute_and_keep, specs)
        return
    executor = process_pool(jobs)
    try:
        yield from executor.map(_execute_and_keep, specs)
    finally:
        executor.shutdown(cancel_futures=True)


def _execute_and_keep(spec: RunSpec) -> Exception | None:
    """Execute a run on one thread: no slower for small networks, far faster where others want the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        content = {"settings": _identity(spec), "result": execute(spec)}
        write_text(spec.folder / "result.json", json.dumps(content, indent=2) + "\n")
    except Exception as failure:
        return failure
    finally:
        torch.set_num_threads(threads)
    return None


def _report(
    console: Console, rows: Sequence[dict[str, Any]], pictures: Sequence[Path], out: Path, problem: LQRProblem
) -> None:
    title = "FlowSAC on MaxEntLQR-v0 and the closed-form optimum (cov.: covariance)"
    table = Table(title=title, box=SIMPLE, pad_edge=False)
    for heading in ("alpha", "seed", "return", "optimal", "mean error", "cov. error", "time", "verdict"):
        table.add_column(heading, justify="right")
    for row in rows:
        figures = [""] * 5
        if "failure" not in row:
            figures = [*map(short, (row["return"], row["optimal_return"]))]
            figures += [*map(percent, (row["mean_error"], row["cov_error"])), f"{row['seconds']:.0f} s"]
        table.add_row(f"{row['alpha']:.3g}", f"{row['seed']}", *figures, row["verdict"])
    console.print(table)
    for line in advice(rows):
        print(line)
    print(f"Results:  {out / 'results.json'}")
    print(f"Curves:   {shlex.join(['tensorboard', '--logdir', str(out / 'tensorboard')])}")
    models = [(out / row["model"], row["alpha"]) for row in rows if "model" in row]
    if not models:
        return
    print(f"Pictures: {', '.join(str(path) for path in pictures)}")
    print(f"Models:   {out / 'runs'}")
    print("Next:     flowsac lqr --preset unstable --out unstable_lqr")
    print("          flowsac lqr --problem my_lqr.yml --out my_lqr   (a system of your own, with keys A, B, Q, R)")
    model, alpha = models[0]
    print(f"          {show_command(model, problem, alpha)}")
    sample = f"FlowSAC.load({str(model)!r}).policy.sample([{[1.0] * problem.n_states}], 5)"
    code = f"from sb3_flowsac import FlowSAC; print({sample})"
    print(f"          {shlex.join(['python', '-c', code])}")


def show_command(model: Path, problem: LQRProblem, alpha: float) -> str:
    """The command that draws a saved model of the study in the environment of its problem and temperature."""
    names = [name for name in maxent_envs.PRESETS if maxent_envs.preset(name) == problem]
    system = {"preset": names[0]} if names else problem.to_dict()
    arguments = {"alpha": alpha, **system, "action_bound": action_bound(problem, alpha)}
    kwargs = [f"{name}:{value}" for name, value in arguments.items()]
    return shlex.join(["flowsac", "show", str(model), "--env", "MaxEntLQR-v0", "--env-kwargs", *kwargs])
