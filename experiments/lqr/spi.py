"""Soft policy iteration on an LQR with a flow as the policy (Algorithm 1), beside the exact iterates of Lemma 1.

No critic is learnt: at each iteration the soft Q-function of the current policy is exact. What keeps the flow from the
exact iterates is importance sampling flow matching and the flow alone.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from experiments.lqr.publish import publish
from experiments.lqr.spi_flow import (
    ACTOR_SETTINGS,
    FIELD_SHARE,
    FlowLQRPolicy,
    SPISettings,
    fit_gaussian,
    improve,
    visited_states,
)
from experiments.lqr.spi_plots import spi_figure
from experiments.runner.arguments import distinct, distinct_seeds
from experiments.runner.tables import table_of
from experiments.runner.tasks import Backend, Task, run_tasks
from maxent_envs import LinearGaussian, LQRProblem, optimal_spread
from maxent_envs.lqr.linalg import spectral_radius
from maxent_envs.validation import FloatArray
from sb3_flowsac.checks import positive
from sb3_flowsac.evaluation.lqr import evaluate_policy_on_lqr

DETUNED = 100.0  # how many times dearer inputs are to the regulator that starts an unstable problem


def run_spi(
    *,
    problem: LQRProblem,
    alphas: Sequence[float],
    seeds: Sequence[int],
    out: Path,
    jobs: int | Backend = 1,
    settings: SPISettings | None = None,
) -> list[dict[str, Any]]:
    """
    Soft policy iteration with a flow for each temperature and seed, beside the exact one.

    Writes ``spi.json`` and ``spi.png`` to ``out`` and prints a table. Each run's result is kept under ``out/spi``: the
    same call goes on where an earlier one has ended.

    :param problem: the problem
    :param alphas: temperatures, positive
    :param seeds: seeds, not negative
    :param out: folder for the results, made if needed
    :param jobs: number of runs at the same time, each in a process of its own if more than one
    :param settings: size of the runs; default what the study is made for
    :return: the entries of ``spi.json``, see :func:`execute`
    :raises ValueError: if an argument is out of range
    :raises RuntimeError: if a flow fails to stabilise the problem
    """
    temperatures, numbers = distinct("alphas", alphas, positive), distinct_seeds(seeds)
    settings = settings or SPISettings()
    tasks = [_task(problem, alpha, seed, settings) for alpha in temperatures for seed in numbers]
    out, console = Path(out), Console()
    rows = run_tasks(tasks, out / "spi", jobs, console)
    publish("spi", rows, spi_figure(rows), [_table(rows)], out, console)
    return rows


def _task(problem: LQRProblem, alpha: float, seed: int, settings: SPISettings) -> Task:
    arguments = {"problem": problem, "alpha": alpha, "seed": seed, "settings": settings}
    fixed = {"actor": repr(ACTOR_SETTINGS), "field_share": FIELD_SHARE, "detuned": DETUNED}
    kept = {"problem": problem.to_dict(), "alpha": alpha, "seed": seed, "spi": asdict(settings), **fixed}
    return Task(f"alpha-{alpha}-seed-{seed}", execute, arguments, kept)


def execute(problem: LQRProblem, alpha: float, seed: int, settings: SPISettings) -> dict[str, Any]:
    """
    One soft policy iteration with a flow, and its last policy compared with the optimum.

    Torch's global generator is left as it was.

    :param problem: the problem
    :param alpha: the temperature
    :param seed: the seed
    :param settings: size of the run
    :return: alpha, seed; ``flow`` and ``exact``, each with the lists gain_error and cov_error, ||K_i - K||_2 / ||K||_2
        and
        ||Sigma_i - Sigma||_2 / ||Sigma||_2 from the common start on; ess, the effective sample size at the end of each
        improvement as a share of the proposals; the last policy's figures (``LQREvaluation.metrics``); seconds
    :raises RuntimeError: if the flow fails to stabilise the problem
    """
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        row = _execute(problem, alpha, seed, settings)
    return {"alpha": alpha, "seed": seed, **row, "seconds": round(time.perf_counter() - start, 1)}


def _execute(problem: LQRProblem, alpha: float, seed: int, settings: SPISettings) -> dict[str, Any]:
    optimum = problem.solve(alpha)
    exact = list(islice(problem.soft_policy_iteration(alpha, *start(problem, alpha)), settings.n_iterations + 1))
    policy = FlowLQRPolicy(problem, alpha)
    fitted, ess = _iterate(policy, exact[0], seed, settings)
    return {
        "flow": _errors(fitted, optimum),
        "exact": _errors(exact, optimum),
        "ess": ess,
        **evaluate_policy_on_lqr(policy, optimum, settings.evaluation).metrics(),
    }


def start(problem: LQRProblem, alpha: float) -> tuple[FloatArray, FloatArray]:
    """
    The policy with which the iteration starts.

    :param problem: the problem
    :param alpha: the temperature
    :return: K_0, zero where that is stable, rho(A) < 1 / sqrt(gamma), else the gain of the regulator for 100 R: it
        stabilises with little effort and is far from the optimum; and a diagonal Sigma_0 as wide as the optimum's
        actions are over all states
    """
    Sigma = np.diag(optimal_spread(problem, alpha) ** 2)
    if math.sqrt(problem.gamma) * spectral_radius(problem.A) < 1.0:
        return np.zeros((problem.n_inputs, problem.n_states)), Sigma
    detuned = LQRProblem(**{**problem.to_dict(), "R": DETUNED * problem.R})
    return detuned.solve(alpha).K, Sigma


def _iterate(
    policy: FlowLQRPolicy, current: LinearGaussian, seed: int, settings: SPISettings
) -> tuple[list[LinearGaussian], list[float]]:
    """Algorithm 1 with the flow: the given start and the Gaussian nearest to each flow, all evaluated; the shares of
    ESS."""
    problem, rng = current.problem, np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    states = visited_states(problem, lambda x: current.sample(x, rng), settings.n_states, rng)
    fitted, ess = [current], []
    for iteration in range(1, settings.n_iterations + 1):
        ess.append(improve(policy, fitted[-1], states, settings, iteration))
        states = visited_states(problem, lambda x: policy.sample(x, 1, generator)[0][:, 0], settings.n_states, rng)
        K, Sigma = fit_gaussian(policy, states, settings.n_fit_actions, generator)
        try:
            fitted.append(problem.evaluate(current.alpha, K, Sigma))
        except ValueError as error:
            raise RuntimeError(f"the flow of iteration {iteration} has no value, train it longer: {error}") from error
    return fitted, ess


def _errors(policies: Sequence[LinearGaussian], optimum: LinearGaussian) -> dict[str, list[float]]:
    def relative(name: str) -> list[float]:
        best = getattr(optimum, name)
        distances = [np.linalg.norm(getattr(policy, name) - best, ord=2) for policy in policies]
        return [float(distance / np.linalg.norm(best, ord=2)) for distance in distances]

    return {"gain_error": relative("K"), "cov_error": relative("Sigma")}


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    title = "Soft policy iteration with a flow: the last policy and the closed-form optimum (cov.: covariance)"
    headings = ("alpha", "seed", "gain error", "mean error", "cov. error", "ESS", "seconds")
    return table_of(title, headings, map(_cells, rows))


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['alpha']:g}",
        f"{row['seed']}",
        f"{row['flow']['gain_error'][-1]:.2%}",
        f"{row['mean_error']:.2%}",
        f"{row['cov_error']:.2%}",
        f"{row['ess'][-1]:.2%}",
        f"{row['seconds']:.0f}",
    ]
