r"""
The limit of zero temperature: as alpha falls, the learnt policy should become the classical linear-quadratic regulator.

The gain of the optimum does not depend on alpha at all: P solves P = Q + gamma A'PA - gamma^2 A'PB G^-1 B'PA with
G = R + gamma B'PB, where alpha does not occur, so neither does it in K = gamma G^-1 B'PA; only Sigma = alpha/2 G^-1
holds it. There is thus nothing to converge in the exact mean. What can fail is learning: at small alpha the target
exp(Q / alpha) is narrow, and the importance weights have to find it. The standard return of the optimum lies

    tr(G Sigma) / (1 - gamma) = alpha m / (2 (1 - gamma))

under that of the regulator u = -K x on the infinite horizon; on a finite one it is linear in alpha too.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.lqr.algorithms import run_task
from experiments.lqr.deterministic import DeterministicPolicy
from experiments.lqr.publish import publish
from experiments.lqr.training_log import BRIEF_EVALUATION, train_and_read_log
from experiments.runner.arguments import distinct, distinct_seeds
from experiments.runner.tables import table_of
from experiments.runner.tasks import Backend, Result, run_tasks
from maxent_envs import LQRProblem, LQRSolution
from maxent_envs.validation import FloatArray
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.checks import integer, positive
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.evaluation.policies import LearntPolicy, LinearPolicy, StochasticPolicy
from sb3_flowsac.evaluation.rollouts import rollouts
from sb3_flowsac.lqr_study.training import FINAL_EVALUATION, TIMESTEPS, RunSpec
from sb3_flowsac.plotting import LEARNT, OPTIMAL


def run_zero_temperature(
    *,
    problem: LQRProblem,
    alphas: Sequence[float] = (1.0, 0.3, 0.1, 0.03, 0.01),
    seeds: Sequence[int] = (0,),
    out: Path,
    timesteps: int = TIMESTEPS,
    evaluation: EvaluationSettings = FINAL_EVALUATION,
    jobs: int | Backend = 1,
) -> list[Result]:
    """
    Learn one problem at smaller and smaller temperatures, with the study's settings, and compare with u = -K x.

    Each run's Box is derived from its own temperature. Writes ``zero_temperature.json`` and ``zero_temperature.png`` to
    ``out``, keeps each run under ``zero_temperature``, prints a table.

    :param problem: the problem
    :param alphas: temperatures, positive
    :param seeds: seeds, not negative
    :param out: folder for the results, made if needed
    :param timesteps: environment steps of a run
    :param evaluation: size of the comparison with the optimum
    :param jobs: number of runs at the same time
    :return: a row for each temperature and seed: the entries of the study's ``results.json`` (model relative to
        ``zero_temperature``), those of ``training_figures`` and of ``regulator_figures``
    :raises ValueError: if an argument is out of range
    """
    steps, out = integer("timesteps", timesteps, 1), Path(out)
    folder = out / "zero_temperature"
    specs = [
        RunSpec(problem, alpha, seed, steps, folder, evaluation=evaluation, curve_evaluation=BRIEF_EVALUATION)
        for alpha in distinct("alphas", alphas, positive)
        for seed in distinct_seeds(seeds)
    ]
    console = Console()
    tasks = [run_task(spec.name, learn_and_compare, spec) for spec in specs]
    rows = run_tasks(tasks, folder, jobs, console)
    publish("zero_temperature", rows, _figure(rows), [_table(rows)], out, console)
    return rows


def learn_and_compare(spec: RunSpec) -> Result:
    """
    One row: a run, what its log says of the training, and how near it is to the regulator.

    :param spec: the run
    :return: the row, see ``run_zero_temperature``
    """
    row = train_and_read_log(spec)
    model = FlowSAC.load(spec.out / row["model"])
    solution = spec.problem.solve(spec.alpha)
    figures = regulator_figures(LearntPolicy(model), DeterministicPolicy(model), solution, spec.evaluation)
    loss = regulator_advantage(solution, spec.evaluation.horizon)
    # The sampled optimum is a control variate: on common random numbers only the difference from it is uncertain
    return {**row, **figures, "optimal_loss": loss, "loss": loss + row["optimal_return"] - row["return"]}


def regulator_figures(
    policy: StochasticPolicy, deterministic: StochasticPolicy, solution: LQRSolution, settings: EvaluationSettings
) -> dict[str, float]:
    """
    How near a policy is to u = -K x, in states that its deterministic controller visits.

    Gains are fitted by least squares, u = -K_hat x + constant.

    :param policy: the policy
    :param deterministic: its deterministic controller
    :param solution: the optimum of the policy's temperature
    :param settings: size and seed of the evaluation
    :return: gain_error and sample_gain_error, ||K_hat - K||_2 / ||K||_2 of the deterministic controller and of the mean
        of ``n_actions`` samples; spread and optimal_spread, sqrt(tr cov) (mean square over the states) and sqrt(tr
        Sigma); deterministic_loss and deterministic_loss_se, by how much the deterministic controller's standard return
        lies under that of u = -K x on common random numbers
    """
    found, regulator = (
        rollouts(actor, solution.problem, n_rollouts=settings.n_rollouts, horizon=settings.horizon, seed=settings.seed)
        for actor in (deterministic, LinearPolicy(solution, deterministic=True))
    )
    losses = regulator.returns - found.returns
    visited = found.visited.reshape(-1, solution.problem.n_states)
    states = visited[np.random.default_rng(settings.seed).choice(len(visited), settings.n_states, replace=False)]
    generator = torch.Generator(device=policy.device).manual_seed(settings.seed)
    samples, _ = policy.sample(states, settings.n_actions, generator)
    controls, _ = deterministic.sample(states, 1, generator)
    return {
        "gain_error": _gain_error(states, controls[:, 0], solution),
        "sample_gain_error": _gain_error(states, samples.mean(axis=1), solution),
        "spread": float(np.sqrt(samples.var(axis=1, ddof=1).sum(axis=1).mean())),
        "optimal_spread": float(np.sqrt(np.trace(solution.Sigma))),
        "deterministic_loss": float(losses.mean()),
        "deterministic_loss_se": float(losses.std(ddof=1) / np.sqrt(len(losses))),
    }


def regulator_advantage(solution: LQRSolution, horizon: int) -> float:
    """
    By how much the standard return of an optimum lies under that of the regulator u = -K x, in closed form.

    Returns are affine in Sigma, hence in alpha: the distance of alpha from 0 is that of 2 alpha from alpha.

    :param solution: the optimum
    :param horizon: number of steps
    :return: the loss, alpha m / (2 (1 - gamma)) for a long horizon
    """
    twice = solution.problem.solve(2.0 * solution.alpha)
    return solution.expected_return(horizon) - twice.expected_return(horizon)


def _gain_error(states: FloatArray, actions: FloatArray, solution: LQRSolution) -> float:
    with_constant = np.column_stack([states, np.ones(len(states))])
    coefficients = np.linalg.lstsq(with_constant, actions, rcond=None)[0]
    difference = -coefficients[:-1].T - solution.K
    return float(np.linalg.norm(difference, ord=2) / np.linalg.norm(solution.K, ord=2))


def _figure(rows: Sequence[Result]) -> Figure:
    """Against the temperature: error of the gain, spread of the actions, loss of return; the closed form dashed."""
    figure = Figure(figsize=(11.0, 3.2), layout="constrained")
    gain, spread, loss = figure.subplots(1, 3)
    _points(gain, rows, "gain_error", "o", LEARNT, "deterministic", 100.0)
    _points(gain, rows, "sample_gain_error", "x", "tab:orange", "mean of samples", 100.0)
    gain.set_ylabel("error of the gain (%)")
    _points(spread, rows, "spread", "o", LEARNT, "learnt", 1.0)
    _points(spread, rows, "optimal_spread", "--", OPTIMAL, "optimal", 1.0)
    spread.set_ylabel("spread of the action, sqrt(tr cov)")
    _points(loss, rows, "loss", "o", LEARNT, "learnt", 1.0)
    _points(loss, rows, "deterministic_loss", "x", "tab:orange", "learnt, deterministic", 1.0)
    _points(loss, rows, "optimal_loss", "--", OPTIMAL, "optimal", 1.0)
    loss.set_ylabel("return below that of u = -K x")
    for axes in (gain, spread, loss):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("temperature alpha")
        axes.legend(fontsize="small")
    return figure


def _points(axes: Axes, rows: Sequence[Result], key: str, style: str, colour: str, label: str, unit: float) -> None:
    ordered = sorted(rows, key=lambda row: float(row["alpha"]))
    axes.plot([row["alpha"] for row in ordered], [unit * row[key] for row in ordered], style, color=colour, label=label)


def _table(rows: Sequence[Result]) -> Table:
    title = "FlowSAC at falling temperature: error of the gain, spread of the action, return below that of u = -K x"
    headings = ("alpha", "seed", "K det.", "K mean", "spread (opt.)", "loss (opt.)", "det.", "ess")
    return table_of(title, headings, map(_cells, rows))


def _cells(row: Result) -> list[str]:
    return [
        f"{row['alpha']:g}",
        f"{row['seed']}",
        f"{row['gain_error']:.1%}",
        f"{row['sample_gain_error']:.1%}",
        f"{row['spread']:.3f} ({row['optimal_spread']:.3f})",
        f"{row['loss']:.3f} ({row['optimal_loss']:.3f})",
        f"{row['deterministic_loss']:.3f}",
        "" if row["ess"] is None else f"{row['ess']:.2f}",
    ]
