"""Rollouts of policies on an LQR, and returns beside the optimum's on common random numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from scipy import stats

from maxent_envs import LQRProblem, LQRSolution
from maxent_envs.validation import FloatArray
from sb3_flowsac.evaluation.policies import LinearPolicy, StochasticPolicy

NextState: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class Rollouts:
    """
    Rollouts of one policy.

    :param returns: discounted standard return (no entropy) of each rollout, (n_rollouts,)
    :param log_probs: discounted sum of log pi over each rollout, (n_rollouts,)
    :param visited: states in which it acted, (horizon, n_rollouts, n_states)
    :param clip_fraction: share of the action components outside the policy's Box, which were clipped
    """

    returns: FloatArray
    log_probs: FloatArray
    visited: FloatArray
    clip_fraction: float


def paired_returns(
    policy: StochasticPolicy, solution: LQRSolution, *, n_rollouts: int, horizon: int, seed: int
) -> tuple[dict[str, float], FloatArray]:
    """
    Roll a stochastic policy and the optimum out on common random numbers.

    Both start in the same states and meet the same process noise. The optimum's action is -K x + L z with L the
    Cholesky factor of Sigma and z the very normal numbers from which the policy makes its own action, as far as it
    draws them as ``StochasticPolicy`` says (a flow does): where the policy is the optimum, the two returns are equal.
    The policy's actions are clipped to its Box, as ``predict`` does; the optimum's are not.

    :param policy: the policy
    :param solution: the optimum, ``problem.solve(alpha)``; its problem gives dynamics, reward and discount
    :param n_rollouts: number of rollouts of each, at least 2
    :param horizon: number of steps of each
    :param seed: seed of all random numbers
    :return: the figures of ``LQREvaluation.metrics`` that rollouts give, return to clip_fraction, and the states that
        the policy has visited, (horizon, n_rollouts, n_states)
    :raises OverflowError: if the policy lets the state leave float32's range
    """
    learnt, optimal = (
        rollouts(actor, solution.problem, n_rollouts=n_rollouts, horizon=horizon, seed=seed)
        for actor in (policy, LinearPolicy(solution, device=policy.device))
    )
    difference = learnt.returns - optimal.returns
    soft_difference = difference - solution.alpha * (learnt.log_probs - optimal.log_probs)
    figures = {
        "return": float(learnt.returns.mean()),
        "optimal_return": float(optimal.returns.mean()),
        "return_se": float(stats.sem(difference)),
        "soft_gap": -float(soft_difference.mean()),
        "soft_gap_se": float(stats.sem(soft_difference)),
        "clip_fraction": learnt.clip_fraction,
    }
    return figures, learnt.visited


def rollouts(
    policy: StochasticPolicy,
    problem: LQRProblem,
    *,
    n_rollouts: int,
    horizon: int,
    seed: int,
    next_state: NextState | None = None,
) -> Rollouts:
    """
    Roll a policy out from the problem's initial distribution, its actions clipped to its Box.

    Initial states, process noise and the policy's generator depend on the seed alone: calls with the same seed and
    sizes are made on common random numbers. Arguments and errors are those of ``paired_returns``, but for these:

    :param problem: the problem; gives reward, discount and first states
    :param next_state: dynamics in place of ``problem.next_state``, a function of states, actions and standard normal
        numbers
    :return: the rollouts
    """
    move = problem.next_state if next_state is None else next_state
    rng = np.random.default_rng(seed)
    generator = torch.Generator(device=policy.device).manual_seed(seed)
    state = problem.initial_state(rng.standard_normal((n_rollouts, problem.n_states)))
    returns, log_probs, clipped = np.zeros(n_rollouts), np.zeros(n_rollouts), 0.0
    visited = np.empty((horizon, *state.shape))
    for step in range(horizon):
        visited[step] = state
        actions, log_prob = (drawn[:, 0] for drawn in policy.sample(state, 1, generator))
        applied = np.clip(actions, policy.action_space.low, policy.action_space.high)
        clipped += float((applied != actions).mean()) / horizon
        returns += problem.gamma**step * problem.reward(state, applied)
        log_probs += problem.gamma**step * log_prob
        state = move(state, applied, rng.standard_normal(state.shape))
    return Rollouts(returns, log_probs, visited, clipped)
