"""How close a stochastic policy is to the max-entropy optimum of an LQR: errors of its distribution, and its return."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from maxent_envs import LQRSolution
from maxent_envs.lqr.spaces import observation
from maxent_envs.validation import FloatArray, integer
from sb3_flowsac.flowsac import FlowSAC

MIN_ACTIONS = 2  # a covariance needs two
EXAMPLE_QUANTILES = (0.1, 0.5, 0.9)
EXAMPLE_ACTIONS = 500


class StochasticPolicy(Protocol):
    """
    A policy as the evaluation sees it: a function of the LQR's state.

    ``action_space`` is the Box to which actions are clipped when they are applied, ``device`` that of the generator
    which ``sample`` takes. Draw the noise of an action as ``torch.randn(batch, n, m, generator=generator)`` in float32:
    then it is common to the policy and to the optimum that it is compared with.
    """

    @property
    def action_space(self) -> spaces.Box:
        """The Box of the actions, shape (m,)."""

    @property
    def device(self) -> torch.device:
        """Where the policy draws its noise."""

    def sample(self, states: FloatArray, n: int, generator: torch.Generator) -> FloatArray:
        """
        Draw actions, before any clipping.

        :param states: states of the LQR, (batch, n_states)
        :param n: number of actions in each state
        :param generator: source of the noise
        :return: actions in the environment's units, (batch, n, n_inputs)
        """


class LearntPolicy:
    """
    The policy of a FlowSAC model as a ``StochasticPolicy``.

    States become the observations that the model was trained on: float32, and normalised if its environment is wrapped
    in a ``VecNormalize`` (whose statistics stay as they are). Sampling happens without gradients in evaluation mode and
    leaves the policy's mode as it was.

    :param model: the model
    """

    def __init__(self, model: FlowSAC) -> None:
        if not isinstance(model.action_space, spaces.Box):
            raise ValueError(f"model.action_space must be a Box, got {model.action_space}")
        self.action_space = model.action_space
        self.device = model.device
        self._policy = model.policy
        self._normalizer = model.get_vec_normalize_env()

    def sample(self, states: FloatArray, n: int, generator: torch.Generator) -> FloatArray:
        """
        Draw actions, before any clipping.

        :param states: states of the LQR, (batch, n_states)
        :param n: number of actions in each state
        :param generator: source of the noise
        :return: actions in the environment's units, (batch, n, n_inputs)
        :raises OverflowError: if a state is outside float32's range
        """
        obs = observation(states)
        normalized = obs if self._normalizer is None else self._normalizer.normalize_obs(obs)
        with torch.no_grad(), _evaluation_mode(self._policy):
            actions = self._policy.sample(normalized, n, generator)[0]
        return actions.cpu().numpy().astype(np.float64)


@contextmanager
def _evaluation_mode(policy: BasePolicy) -> Iterator[None]:
    was_training = policy.training
    policy.set_training_mode(False)
    try:
        yield
    finally:
        policy.set_training_mode(was_training)


@dataclass(frozen=True)
class EvaluationSettings:
    """
    Size of an evaluation.

    :param n_rollouts: number of rollouts of each policy, at least 2
    :param horizon: number of steps of a rollout, at least 1
    :param n_states: number of visited states in which the distribution is estimated, at most ``n_rollouts * horizon``
    :param n_actions: number of actions drawn in each of them, at least 2
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
class PairedReturns:
    """
    Discounted standard returns (no entropy) of a policy and of the optimum on common random numbers.

    :param learnt: mean over the rollouts of the policy
    :param optimal: mean over the rollouts of the optimum
    :param standard_error: standard error of the difference of the two means
    :param clip_fraction: share of the policy's action components outside the Box, which were clipped
    """

    learnt: float
    optimal: float
    standard_error: float
    clip_fraction: float


@dataclass(frozen=True)
class DistributionErrors:
    """
    Relative errors of a policy's mean and covariance, and some of the drawn actions to look at.

    :param mean: sum over states of ||mean + K x||_2, over the sum of ||K x||_2
    :param cov: average over states of ||cov - Sigma||_2 / ||Sigma||_2 (spectral norm)
    :param example_states: states with a small, a middling and a large ||K x||, (3, n_states)
    :param example_actions: actions drawn there, (3, up to 500, n_inputs)
    """

    mean: float
    cov: float
    example_states: FloatArray
    example_actions: FloatArray


@dataclass(frozen=True)
class LQREvaluation:
    """
    A policy compared with the max-entropy optimum.

    :param solution: the optimum
    :param returns: returns of both
    :param errors: errors of the policy's distribution in states that it visits
    """

    solution: LQRSolution
    returns: PairedReturns
    errors: DistributionErrors

    def metrics(self) -> dict[str, float]:
        """
        The comparison in figures.

        :return: mean_error and cov_error (relative), return and optimal_return (discounted, without entropy), return_se
            (of their difference) and clip_fraction
        """
        return {
            "mean_error": self.errors.mean,
            "cov_error": self.errors.cov,
            "return": self.returns.learnt,
            "optimal_return": self.returns.optimal,
            "return_se": self.returns.standard_error,
            "clip_fraction": self.returns.clip_fraction,
        }


def evaluate_policy_on_lqr(policy: StochasticPolicy, solution: LQRSolution, settings: EvaluationSettings) -> LQREvaluation:
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
    return LQREvaluation(solution, returns, errors)


def paired_returns(
    policy: StochasticPolicy, solution: LQRSolution, *, n_rollouts: int, horizon: int, seed: int
) -> tuple[PairedReturns, FloatArray]:
    """
    Roll a stochastic policy and the optimum out on common random numbers.

    Both start in the same states and meet the same process noise. The optimum's action is -K x + L z with L the Cholesky
    factor of Sigma and z the very normal numbers from which the policy makes its own action, as far as it draws them as
    ``StochasticPolicy`` says (a flow does): where the policy is the optimum, the two returns are equal. The policy's
    actions are clipped to its Box, as ``predict`` does; the optimum's are not.

    :param policy: the policy
    :param solution: the optimum, ``problem.solve(alpha)``; its problem gives dynamics, reward and discount
    :param n_rollouts: number of rollouts of each, at least 2
    :param horizon: number of steps of each
    :param seed: seed of all random numbers
    :return: the two mean returns with the standard error of their difference, and the states that the policy has
        visited, (horizon, n_rollouts, n_states)
    :raises OverflowError: if the policy lets the state leave float32's range
    """
    problem = solution.problem
    box = policy.action_space
    rng = np.random.default_rng(seed)
    generator = torch.Generator(device=policy.device).manual_seed(seed)
    factor = np.linalg.cholesky(solution.Sigma)
    learnt_state = optimal_state = problem.initial_state(rng.standard_normal((n_rollouts, problem.n_states)))
    learnt, optimal = np.zeros(n_rollouts), np.zeros(n_rollouts)
    visited = np.empty((horizon, n_rollouts, problem.n_states))
    clipped = 0.0
    for step in range(horizon):
        visited[step] = learnt_state
        normal = torch.randn(
            n_rollouts, 1, problem.n_inputs, generator=generator.clone_state(), device=policy.device, dtype=torch.float32
        )
        actions = policy.sample(learnt_state, 1, generator)[:, 0]
        applied = np.clip(actions, box.low, box.high)
        clipped += float((applied != actions).mean()) / horizon
        optimal_actions = solution.mean(optimal_state) + normal[:, 0].cpu().numpy() @ factor.T
        discount, noise = problem.gamma**step, rng.standard_normal(learnt_state.shape)
        learnt += discount * problem.reward(learnt_state, applied)
        optimal += discount * problem.reward(optimal_state, optimal_actions)
        learnt_state = problem.next_state(learnt_state, applied, noise)
        optimal_state = problem.next_state(optimal_state, optimal_actions, noise)
    standard_error = float(np.std(learnt - optimal, ddof=1) / np.sqrt(n_rollouts))
    return PairedReturns(float(learnt.mean()), float(optimal.mean()), standard_error, clipped), visited


def distribution_errors(
    policy: StochasticPolicy, solution: LQRSolution, states: FloatArray, *, n_actions: int, seed: int
) -> DistributionErrors:
    """
    Errors of a policy's mean and covariance in given states, relative to the optimum N(-K x, Sigma).

    Mean and covariance are estimated from actions as drawn, before any clipping. Both errors are averages over the states,
    of the vector's 2-norm and of the matrix's (the largest singular value). The mean's is divided by the average of
    ||K x||_2 and not state by state, since K x vanishes near the origin. Sampling alone leaves an error of the order of
    1 / sqrt(n_actions).

    :param policy: the policy
    :param solution: the optimum
    :param states: states, (batch, n_states)
    :param n_actions: number of actions drawn in each state, at least 2
    :param seed: seed of the actions
    :return: the errors
    """
    generator = torch.Generator(device=policy.device).manual_seed(seed)
    actions = policy.sample(states, n_actions, generator)
    means = actions.mean(axis=1)
    centred = actions - means[:, None]
    covs = np.einsum("sai,saj->sij", centred, centred) / (n_actions - 1)
    optimal_means = solution.mean(states)
    optimal_norms = np.linalg.norm(optimal_means, axis=1)
    ranks = np.quantile(np.arange(len(states)), EXAMPLE_QUANTILES, method="nearest")
    examples = np.argsort(optimal_norms)[ranks]
    return DistributionErrors(
        mean=float(np.linalg.norm(means - optimal_means, axis=1).sum() / optimal_norms.sum()),
        cov=float(np.linalg.norm(covs - solution.Sigma, ord=2, axis=(1, 2)).mean() / np.linalg.norm(solution.Sigma, ord=2)),
        example_states=states[examples],
        example_actions=actions[examples, :EXAMPLE_ACTIONS],
    )
