"""Soft policy iteration on a linear-quadratic problem, exact in every step."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maxent_envs.lqr.solution import EvaluatedPolicy, greedy

if TYPE_CHECKING:
    from maxent_envs.lqr.problem import LQRProblem


def soft_policy_iteration(problem: "LQRProblem", alpha: float, K0: object, Sigma0: object) -> Iterator[EvaluatedPolicy]:
    """Iterate soft policy evaluation and improvement from a linear Gaussian policy.

    Evaluation gives P of the current gain, hence the exact soft Q-function; improvement takes
    K_new = gamma (R + gamma B'PB)^-1 B'PA and Sigma_new = alpha/2 (R + gamma B'PB)^-1. The gains converge
    quadratically to the optimum.

    :param problem: The problem.
    :param alpha: Temperature, positive.
    :param K0: First gain, shape (m, n), stabilising.
    :param Sigma0: First covariance, shape (m, m), positive definite.
    :return: An endless iterator; its first element is the given policy, evaluated, and each next one is improved
        once. ``itertools.islice`` takes as many as wanted.
    :raises ValueError: At the call, not at the first element: if a shape is wrong, Sigma0 is not positive definite,
        alpha not positive, or sqrt(gamma) (A - B K0) not stable.
    """
    try:
        first = EvaluatedPolicy(problem=problem, K=K0, Sigma=Sigma0, alpha=alpha)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"K0, Sigma0, alpha must be a policy that can be evaluated: {error}") from error
    return _iterate(first)


def _iterate(policy: EvaluatedPolicy) -> Iterator[EvaluatedPolicy]:
    while True:
        yield policy
        policy = greedy(EvaluatedPolicy, policy.problem, policy.alpha, policy.P)
