"""The study behind ``flowsac lqr``: learn max-entropy LQRs and compare with their known optimum."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import maxent_envs
from maxent_envs import LQRProblem
from maxent_envs.validation import integer, positive_float
from sb3_flowsac.studies.lqr.plots import save_plots
from sb3_flowsac.studies.lqr.training import TIMESTEPS, RunResult, RunSpec, execute, write_json


def run_study(
    *,
    alphas: Sequence[float],
    seeds: Sequence[int],
    out: Path,
    preset: str | None = None,
    problem_file: Path | None = None,
    timesteps: int | None = None,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """
    Train FlowSAC on MaxEntLQR-v0 for each temperature and seed, and compare with the optimum.

    Writes to ``out``: ``results.json`` (after every run), three pictures, TensorBoard logs, and each run's model under
    ``runs``. Prints a table.

    :param alphas: temperatures, positive
    :param seeds: seeds, not negative
    :param out: folder for the results, made if needed; results of an earlier study in it are replaced
    :param preset: name of a problem of ``maxent_envs``; ``"default"`` if neither it nor a file is given
    :param problem_file: a problem of your own, YAML, JSON or NPZ
    :param timesteps: environment steps of a run; what the settings are made for if ``None``
    :param jobs: number of runs at the same time, each in a process of its own if more than one
    :return: the entries of ``results.json``, sorted as the arguments are: alpha, seed, mean_error, cov_error (relative),
        return, optimal_return, return_se, clip_fraction, seconds, timesteps, model (relative to ``out``)
    :raises ValueError: if an argument is out of range, the preset unknown or the file no valid problem
    """
    problem = _problem(preset, problem_file)
    specs = _specs(problem, alphas, seeds, TIMESTEPS if timesteps is None else integer("timesteps", timesteps, 1), Path(out))
    integer("jobs", jobs, 1)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    found: dict[RunSpec, RunResult] = {}
    for result in execute_all(specs, jobs, console):
        found[result.spec] = result
        write_json(out / "results.json", [found[spec].row for spec in specs if spec in found])
    results = [found[spec] for spec in specs]
    pictures = save_plots(results, out)
    _report(console, results, pictures, out)
    return [result.row for result in results]


def _problem(preset: str | None, problem_file: Path | None) -> LQRProblem:
    if problem_file is None:
        return maxent_envs.preset("default" if preset is None else preset)
    if preset is not None:
        raise ValueError(f"preset={preset!r} and problem_file={str(problem_file)!r} are two problems; give one")
    try:
        return maxent_envs.load_problem(problem_file)
    except OSError as error:
        raise ValueError(f"problem_file={str(problem_file)!r} cannot be read: {error}") from error


def _specs(problem: LQRProblem, alphas: Sequence[float], seeds: Sequence[int], timesteps: int, out: Path) -> list[RunSpec]:
    """A run for each temperature and seed; repeated ones count once."""
    if not alphas or not seeds:
        raise ValueError(f"alphas and seeds must name at least one each, got {list(alphas)} and {list(seeds)}")
    temperatures = dict.fromkeys(positive_float("alphas", alpha) for alpha in alphas)
    numbers = dict.fromkeys(integer("seeds", seed, 0) for seed in seeds)
    return [RunSpec(problem, alpha, seed, timesteps, out) for alpha in temperatures for seed in numbers]


def execute_all(specs: Sequence[RunSpec], jobs: int, console: Console) -> Iterator[RunResult]:
    """
    Run a list of runs: one after another in this process, or several at a time in processes of their own.

    :param specs: the runs, at least one
    :param jobs: number of runs at the same time
    :param console: where progress is shown
    :return: the results as they come, in no particular order
    """
    jobs = min(jobs, len(specs))
    if jobs > 1:
        yield from _in_processes(specs, jobs, console)
        return
    for number, spec in enumerate(specs, start=1):
        console.print(f"Run {number} of {len(specs)}: alpha {spec.alpha:g}, seed {spec.seed}, {spec.timesteps:,} steps")
        yield execute(spec, progress_bar=True)


def _in_processes(specs: Sequence[RunSpec], jobs: int, console: Console) -> Iterator[RunResult]:
    """Results as they come. Processes are spawned: a forked one would inherit PyTorch's threads in an unknown state."""
    console.print(f"{len(specs)} runs of {specs[0].timesteps:,} steps, {jobs} at a time")
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(jobs, mp_context=context)
    try:
        for future in as_completed([executor.submit(execute, spec, progress_bar=False) for spec in specs]):
            result = future.result()
            console.print(f"Done: alpha {result.spec.alpha:g}, seed {result.spec.seed}, {result.row['seconds']:.0f} s")
            yield result
    finally:
        executor.shutdown(cancel_futures=True)


def _report(console: Console, results: Sequence[RunResult], pictures: Sequence[Path], out: Path) -> None:
    table = Table(title="FlowSAC on MaxEntLQR-v0 and the closed-form optimum (cov.: covariance)")
    for column in ("alpha", "seed", "return", "optimal return", "mean error", "cov. error", "seconds"):
        table.add_column(column, justify="right")
    for result in results:
        row = result.row
        table.add_row(
            f"{row['alpha']:g}",
            f"{row['seed']}",
            f"{row['return']:.3f}",
            f"{row['optimal_return']:.3f}",
            f"{row['mean_error']:.1%}",
            f"{row['cov_error']:.1%}",
            f"{row['seconds']:.0f}",
        )
    console.print(table)
    print(f"Results:  {out / 'results.json'}")
    print(f"Pictures: {', '.join(str(path) for path in pictures)}")
    print(f"Models:   {out / 'runs'}")
    print(f"Curves:   tensorboard --logdir {out / 'tensorboard'}")
    print("Next:     flowsac lqr --preset unstable --out unstable_lqr")
    print("          flowsac lqr --problem my_lqr.yml   (a system of your own, with keys A, B, Q, R)")
    print(f'          FlowSAC.load("{out / results[0].row["model"]}").policy.sample(observation, n=1000)')
