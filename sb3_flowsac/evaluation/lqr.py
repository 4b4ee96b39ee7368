"""How close a stochastic policy is to the max-entropy optimum of an LQR: errors of its distribution, and its return."""

from dataclasses import dataclass

import numpy as np
import torch

from maxent_envs import LQRSolution
from maxent_envs.validation import FloatArray
from sb3_flowsac.checks import integer
from sb3_flowsac.evaluation.policies import LinearPolicy, StochasticPolicy
from sb3_flowsac.evaluation.rollouts import paired_returns

MIN_ACTIONS = 4  # a covariance needs two, and the estimator's floor compares two halves
EXAMPLE_QUANTILES = (0.1, 0.5, 0.9)
EXAMPLE_ACTIONS = 10_000  # a covariance of 500 is off by a tenth


@dataclass(frozen=True)
class EvaluationSettings:
    """
    Size of an evaluation.

    :param n_rollouts: number of rollouts of each policy, at least 2
    :param horizon: number of steps of a rollout, at least 1
    :param n_states: number of visited states in which the distribution is estimated, at most ``n_rollouts * horizon``
    :param n_actions: number of actions drawn in each of them, at least 4
    :param seed: seed of all random numbers of the evaluation
    :raises ValueError: if a number is out of range
    """

    n_rollouts: int
    horizon: int
    n_states: int
    n_actions: int
    seed: int = 0

    def __post_init__(self) -> None:
        minima = {"n_rollouts": 2, "horizon": 1, "n_states": 1, "n_actions": MIN_ACTIONS, "seed": 0}
        for name, minimum in minima.items():
            integer(name, getattr(self, name), minimum)
        if self.n_states > self.n_rollouts * self.horizon:
            raise ValueError(
                f"n_states must be at most n_rollouts * horizon = {self.n_rollouts * self.horizon}, got {self.n_states}"
            )


@dataclass(frozen=True)
class DistributionErrors:
    """
    Errors of a policy's mean and covariance in a number of states, and some of the drawn actions to look at.

    :param mean_distances: ||mean + K x||_2 in each state, (batch,)
    :param cov_distances: ||cov - Sigma||_2 (spectral norm) in each state, (batch,)
    :param mean_floors: what of ``mean_distances`` can be the estimator's own error, (batch,)
    :param cov_floors: what of ``cov_distances`` can be the estimator's own error, (batch,)
    :param mean_scale: average of ||K x||_2 over the states; if that is 0, the optimum's spread tr(Sigma)^(1/2)
    :param cov_scale: ||Sigma||_2
    :param example_states: states with a small, a middling and a large ||K x||, (3, n_states)
    :param example_actions: actions drawn there, (3, 10000, n_inputs)
    """

    mean_distances: FloatArray
    cov_distances: FloatArray
    mean_floors: FloatArray
    cov_floors: FloatArray
    mean_scale: float
    cov_scale: float
    example_states: FloatArray
    example_actions: FloatArray

    @property
    def mean(self) -> float:
        """Relative error of the mean: average over states of ||mean + K x||_2, over ``mean_scale``."""
        return float(self.mean_distances.mean() / self.mean_scale)

    @property
    def cov(self) -> float:
        """Relative error of the covariance: average over states of ||cov - Sigma||_2 / ||Sigma||_2."""
        return float(self.cov_distances.mean() / self.cov_scale)


@dataclass(frozen=True)
class LQREvaluation:
    """
    A policy compared with the max-entropy optimum.

    :param returns: what rollouts of both have given, see ``paired_returns``
    :param errors: errors of the policy's distribution in states that it visits
    """

    returns: dict[str, float]
    errors: DistributionErrors

    def metrics(self) -> dict[str, float]:
        """
        The comparison in figures.

        :return: mean_error and cov_error (relative), their floors mean_floor and cov_floor; return and optimal_return
            (discounted, without entropy), return_se (of their difference), soft_gap (how far the soft return, with the
            entropy bonus -alpha log pi, is below the optimum's), soft_gap_se, clip_fraction (share of the policy's
            action components outside the Box, which were clipped); and the distances behind the errors, averages and
            standard deviations over the states: mean_distance, mean_distance_std, cov_distance, cov_distance_std
        """
        errors = self.errors
        return {
            "mean_error": errors.mean,
            "cov_error": errors.cov,
            "mean_floor": float(errors.mean_floors.mean() / errors.mean_scale),
            "cov_floor": float(errors.cov_floors.mean() / errors.cov_scale),
            **self.returns,
            "mean_distance": float(errors.mean_distances.mean()),
            "mean_distance_std": float(errors.mean_distances.std()),
            "cov_distance": float(errors.cov_distances.mean()),
            "cov_distance_std": float(errors.cov_distances.std()),
        }


def evaluate_policy_on_lqr(
    policy: StochasticPolicy, solution: LQRSolution, settings: EvaluationSettings
) -> LQREvaluation:
    """
    Compare a stochastic policy with the max-entropy optimum of its problem.

    :param policy: the policy
    :param solution: the optimum, ``problem.solve(alpha)``
    :param settings: size and seed of the evaluation; the same seed gives the same figures
    :return: the comparison
    :raises OverflowError: if the policy lets the state leave float32's range
    """
    returns, visited = paired_returns(
        policy, solution, n_rollouts=settings.n_rollouts, horizon=settings.horizon, seed=settings.seed
    )
    visited = visited.reshape(-1, solution.problem.n_states)
    chosen = np.random.default_rng(settings.seed).choice(len(visited), settings.n_states, replace=False)
    errors = distribution_errors(policy, solution, visited[chosen], n_actions=settings.n_actions, seed=settings.seed)
    return LQREvaluation(returns, errors)


def distribution_errors(
    policy: StochasticPolicy, solution: LQRSolution, states: FloatArray, *, n_actions: int, seed: int
) -> DistributionErrors:
    """
    Errors of a policy's mean and covariance in given states, with respect to the optimum N(-K x, Sigma).

    Mean and covariance are estimated from actions as drawn, before any clipping, as differences from the estimates that
    the optimum's actions give, drawn from the same normal numbers where the policy shares them (see
    ``paired_returns``): what sampling adds to both alike cancels. The mean's error is divided by the average of ||K
    x||_2 and not state by state, since K x vanishes near the origin.

    The floors say what sampling has left: half the distance between the estimates from either half of the actions.

    :param policy: the policy
    :param solution: the optimum
    :param states: states, (batch, n_states)
    :param n_actions: number of actions drawn in each state, at least 4
    :param seed: seed of the actions
    :return: the errors
    """

    def drawn(actor: StochasticPolicy, where: FloatArray, count: int) -> FloatArray:
        return actor.sample(where, count, torch.Generator(device=policy.device).manual_seed(seed))[0]

    actions, optimal_actions = (
        drawn(actor, states, n_actions) for actor in (policy, LinearPolicy(solution, device=policy.device))
    )
    half = n_actions // 2
    first, second, whole = (
        _moment_differences(actions[:, part], optimal_actions[:, part])
        for part in (slice(half), slice(half, None), slice(None))
    )
    optimal_norms = np.linalg.norm(solution.mean(states), axis=1)
    ranks = np.quantile(np.arange(len(states)), EXAMPLE_QUANTILES, method="nearest")
    examples = states[np.argsort(optimal_norms)[ranks]]
    return DistributionErrors(
        mean_distances=np.linalg.norm(whole[0], axis=1),
        cov_distances=np.linalg.norm(whole[1], ord=2, axis=(1, 2)),
        mean_floors=0.5 * np.linalg.norm(first[0] - second[0], axis=1),
        cov_floors=0.5 * np.linalg.norm(first[1] - second[1], ord=2, axis=(1, 2)),
        mean_scale=float(optimal_norms.mean() or np.sqrt(np.trace(solution.Sigma))),
        cov_scale=float(np.linalg.norm(solution.Sigma, ord=2)),
        example_states=examples,
        example_actions=drawn(policy, examples, EXAMPLE_ACTIONS),
    )


def _moment_differences(actions: FloatArray, others: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Differences of the sample means, (batch, dim), and covariances, (batch, dim, dim), of two sets of actions."""
    means = actions.mean(axis=1), others.mean(axis=1)
    covs = [
        np.einsum("sai,saj->sij", drawn - mean[:, None], drawn - mean[:, None]) / (drawn.shape[1] - 1)
        for drawn, mean in zip((actions, others), means, strict=True)
    ]
    return means[0] - means[1], covs[0] - covs[1]
