"""
What the data allow: the mean error of a regression of Q that knows the optimal values of next states.

The optimal policy acts on the default system. Least squares fits a quadratic form to r + gamma V*(s') in (s, a). The
gain of its maximum is compared with the optimum's. No network can be expected to do better with the same data, without
control variates and without more exploration.

    python -m experiments.lqr.data_floor
"""

import argparse

import numpy as np
from rich.console import Console

from experiments.runner.tables import table_of
from maxent_envs import LQRProblem, preset
from sb3_flowsac.lqr_study.verdict import percent

EPISODE_STEPS = 100  # the environment's time limit


def mean_error(problem: LQRProblem, alpha: float, steps: int, seed: int) -> float:
    """
    Error of the gain by the data of so many steps: sum of ||(K' - K) x|| over the states, over the sum of ||K x||.

    :param problem: the system
    :param alpha: temperature of the optimal policy
    :param steps: number of transitions
    :param seed: of first states, actions and process noise
    """
    solution, rng = problem.solve(alpha), np.random.default_rng(seed)
    n, size = problem.n_states, problem.n_states + problem.n_inputs
    x = rng.multivariate_normal(np.zeros(n), problem.initial_cov, -(-steps // EPISODE_STEPS))
    pairs, next_states = [], []
    for _ in range(EPISODE_STEPS):  # all episodes side by side
        u = -x @ solution.K.T + rng.multivariate_normal(np.zeros(problem.n_inputs), solution.Sigma, len(x))
        pairs.append(np.hstack([x, u]))
        x = x @ problem.A.T + u @ problem.B.T + rng.multivariate_normal(np.zeros(n), problem.noise_cov, len(x))
        next_states.append(x)
    z, following = np.concatenate(pairs)[:steps], np.concatenate(next_states)[:steps]
    cost = np.block([[problem.Q, problem.N], [problem.N.T, problem.R]])
    targets = -_form(z, cost) - problem.gamma * _form(following, solution.P)
    rows, columns = np.triu_indices(size)
    products = np.column_stack([z[:, rows] * z[:, columns], np.ones(len(z))])
    coefficients = np.linalg.lstsq(products, targets, rcond=None)[0]
    half = np.zeros((size, size))
    half[rows, columns] = coefficients[:-1]
    form = half + half.T
    gain = np.linalg.solve(form[n:, n:], form[n:, :n])
    states = z[:, :n]
    distances = np.linalg.norm(states @ (gain - solution.K).T, axis=1)
    return float(distances.sum() / np.linalg.norm(states @ solution.K.T, axis=1).sum())


def _form(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return ((x @ matrix) * x).sum(1)


def main() -> None:
    """Print a row for each temperature and number of steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.1, 0.5], help="temperatures")
    parser.add_argument("--steps", type=int, nargs="+", default=[20_000, 40_000], help="numbers of transitions")
    parser.add_argument("--seeds", type=int, default=10, help="number of data sets")
    arguments = parser.parse_args()
    rows = []
    for alpha in arguments.alpha:
        for steps in arguments.steps:
            errors = [mean_error(preset(), alpha, steps, seed) for seed in range(arguments.seeds)]
            found = [percent(float(error)) for error in (np.min(errors), np.mean(errors), np.max(errors))]
            rows.append([f"{alpha:g}", f"{steps:,}", *found])
    Console().print(table_of("Mean error", ("alpha", "steps", "lowest", "mean", "highest"), rows))


if __name__ == "__main__":
    main()
