"""The study behind ``flowsac lqr``: learn max-entropy LQRs and compare with their known optimum."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import maxent_envs
from maxent_envs import LQRProblem
from sb3_flowsac.checks import integer, positive
from sb3_flowsac.lqr_study.arguments import distinct, distinct_seeds
from sb3_flowsac.lqr_study.models import FLOWSAC, Algorithm
from sb3_flowsac.lqr_study.plots import save_plots
from sb3_flowsac.lqr_study.results import table_of
from sb3_flowsac.lqr_study.tasks import Backend, Result, run_tasks, write_json
from sb3_flowsac.lqr_study.training import TIMESTEPS, RunSpec
from sb3_flowsac.lqr_study.verdict import advice, percent, short


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

    Writes to ``out``: each run's model and result under ``runs``, TensorBoard logs, ``results.json``, three pictures.
    Prints a table. Runs whose results an earlier start has left in ``out`` are not repeated.

    :param alphas: temperatures, positive
    :param seeds: seeds, not negative
    :param out: folder for the results, made if needed
    :param problem: the problem to learn; default the default preset of ``maxent_envs``
    :param timesteps: environment steps of a run; what the settings are made for if ``None``
    :param jobs: number of runs at the same time, each in a process of its own if more than one
    :return: the entries of ``results.json``, sorted as the arguments are: see docs/lqr.md
    :raises ValueError: if an argument is out of range
    """
    problem = maxent_envs.preset() if problem is None else problem
    specs = run_specs([FLOWSAC], problem, alphas, seeds, timesteps, Path(out), jobs)
    out = Path(out)
    console = Console()
    results = run_all(specs, out, jobs, console)
    rows = [result["row"] for result in results]
    write_json(out / "results.json", rows)
    pictures = save_plots(problem, results, out)
    _report(console, rows, pictures, out, problem)
    return rows


def run_specs(
    algorithms: Sequence[Algorithm],
    problem: LQRProblem,
    alphas: Sequence[float],
    seeds: Sequence[int],
    timesteps: int | None,
    out: Path,
    jobs: int | Backend,
) -> list[RunSpec]:
    """
    A run for each algorithm, temperature and seed; repeated ones count once.

    :param algorithms: what learns
    :param problem: the problem to learn
    :param alphas: temperatures, positive, at least one
    :param seeds: seeds, not negative, at least one
    :param timesteps: environment steps of a run; what the settings are made for if ``None``
    :param out: folder for the results
    :param jobs: number of runs at the same time; a single one shows a progress bar
    :raises ValueError: if an argument is out of range
    """
    temperatures, numbers = distinct("alphas", alphas, positive), distinct_seeds(seeds)
    steps = TIMESTEPS if timesteps is None else integer("timesteps", timesteps, 1)
    progress_bar = jobs == 1
    return [
        RunSpec(problem, alpha, seed, steps, out, algorithm, progress_bar)
        for algorithm in algorithms
        for alpha in temperatures
        for seed in numbers
    ]


def run_all(specs: Sequence[RunSpec], out: Path, jobs: int | Backend, console: Console) -> list[Result]:
    """
    Results of all runs; what they kept to go on after an interruption is deleted.

    :param specs: the runs
    :param out: folder of the study
    :param jobs: number of runs at the same time
    :param console: where progress is shown
    :return: what ``training.execute`` has found in each
    """
    results = run_tasks([spec.task() for spec in specs], out, jobs, console)
    for spec in specs:
        shutil.rmtree(spec.checkpoints, ignore_errors=True)
    return results


def _report(
    console: Console, rows: Sequence[dict[str, Any]], pictures: Sequence[Path], out: Path, problem: LQRProblem
) -> None:
    title = "FlowSAC on MaxEntLQR-v0 and the closed-form optimum (cov.: covariance)"
    headings = ("alpha", "seed", "return", "optimal", "mean error", "cov. error", "time", "verdict")
    console.print(table_of(title, headings, map(_cells, rows)))
    for line in advice(rows):
        print(line)
    print(f"Results:  {out / 'results.json'}")
    print(f"Pictures: {', '.join(str(path) for path in pictures)}")
    print(f"Models:   {out / 'runs'}")
    print(f"Curves:   tensorboard --logdir {out / 'tensorboard'}")
    print("Next:     flowsac lqr --preset unstable --out unstable_lqr")
    print("          flowsac lqr --problem my_lqr.yml --out my_lqr   (a system of your own, with keys A, B, Q, R)")
    model = out / rows[0]["model"]
    print(f"          {show_command(model, problem, rows[0]['alpha'])}")
    sample = f"FlowSAC.load({str(model)!r}).policy.sample([{[1.0] * problem.n_states}], 5)"
    code = f"from sb3_flowsac import FlowSAC; print({sample})"
    print(f"          {shlex.join(['python', '-c', code])}")


def show_command(model: Path, problem: LQRProblem, alpha: float) -> str:
    """
    The command that draws a model of the study in its environment.

    :param model: the model's file
    :param problem: what it has learnt
    :param alpha: the temperature that it was trained with
    """
    names = [name for name in maxent_envs.PRESETS if maxent_envs.preset(name) == problem]
    system = {"preset": names[0]} if names else problem.to_dict()
    kwargs = [f"{name}:{value}" for name, value in {"alpha": alpha, **system}.items()]
    return shlex.join(["flowsac", "show", str(model), "--env", "MaxEntLQR-v0", "--env-kwargs", *kwargs])


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['alpha']:.3g}",
        f"{row['seed']}",
        short(row["return"]),
        short(row["optimal_return"]),
        percent(row["mean_error"]),
        percent(row["cov_error"]),
        f"{row['seconds']:.0f} s",
        row["verdict"],
    ]
