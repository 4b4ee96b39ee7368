"""The finite action Box: how wide it must be for an optimum that is Gaussian and so has no bound."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from maxent_envs.lqr.linalg import MARGIN, discounted_sum, spectral_radius
from maxent_envs.lqr.problem import LinearGaussian, LQRProblem
from maxent_envs.validation import FloatArray, array

SPREAD_MULTIPLE = 4.0


def long_run_covariance(controller: LinearGaussian) -> FloatArray:
    """Second moment of the state far into an episode.

    The stationary X = (A - BK) X (A - BK)' + B Sigma B' + W if A - BK is stable. If only sqrt(gamma) (A - BK) is,
    there is none, and the discounted average (1 - gamma) sum over k of gamma^k X_k from X_0 takes its place.
    """
    problem, F = controller.problem, controller.closed_loop
    inflow = problem.B @ controller.Sigma @ problem.B.T + problem.noise_cov
    if spectral_radius(F) < 1.0 - MARGIN:
        return discounted_sum(F, inflow, 1.0)
    gamma = problem.gamma
    return discounted_sum(F, (1.0 - gamma) * problem.initial_cov + gamma * inflow, gamma)


def optimal_spread(problem: LQRProblem, alpha: float) -> FloatArray:
    """Standard deviation of each input under the max-entropy optimum.

    sqrt(diag(K X K' + Sigma)) for X the covariance of the first state and for X the long-run one: per input the
    larger of the two.

    :param problem: The problem.
    :param alpha: Temperature, positive.
    :return: Standard deviations, shape (m,), in units of the input.
    :raises ValueError: If alpha is not positive.
    """
    optimum = problem.solve(alpha)
    moments = (problem.initial_cov, long_run_covariance(optimum))
    variances = [np.diag(optimum.K @ moment @ optimum.K.T + optimum.Sigma) for moment in moments]
    return np.asarray(np.sqrt(np.maximum(*variances)))


def derived_action_bound(problem: LQRProblem, alpha: float) -> FloatArray:
    """The default action bound: 4 times :func:`optimal_spread`.

    :param problem: The problem.
    :param alpha: Largest temperature meant, positive.
    :return: Bounds b, shape (m,); the Box is [-b, b].
    :raises ValueError: If alpha is not positive, or a bound is outside float32's range.
    """
    return action_bounds(
        SPREAD_MULTIPLE * optimal_spread(problem, alpha),
        problem.n_inputs,
        f", derived from the problem's matrices and alpha={alpha}: rescale them or give action_bound",
    )


def action_bounds(bound: npt.ArrayLike, n_inputs: int, origin: str = "") -> FloatArray:
    """Check bounds of the action Box: one number for all inputs, or one per input, positive and finite in float32.

    :param origin: What the message says of where they come from.
    :return: Bounds, shape (m,).
    """
    given, limits = array("action_bound", bound), np.finfo(np.float32)
    if given.shape not in ((), (n_inputs,)):
        raise ValueError(f"action_bound must be one number or {n_inputs}, one per input; got shape {given.shape}")
    if (given < limits.tiny).any() or (given > limits.max).any():
        raise ValueError(f"action_bound must be positive and within float32's range, got {given.tolist()}{origin}")
    return np.broadcast_to(given, (n_inputs,)).copy()


def clip_probability(problem: LQRProblem, alpha: float, action_bound: npt.ArrayLike) -> FloatArray:
    """Probability that one component of an optimal action lies outside the Box.

    P(abs(u_i) >= b_i) = 2 Phi(-b_i / sigma_i) with sigma the :func:`optimal_spread`: at the first state or in the
    long run, whichever is the more likely.

    :param problem: The problem.
    :param alpha: Temperature of the optimum, positive; it need not be the one from which the bound was derived.
    :param action_bound: One bound for all inputs or one per input.
    :return: Probabilities, shape (m,).
    :raises ValueError: If alpha or a bound is not positive.
    """
    bound = action_bounds(action_bound, problem.n_inputs)
    return np.asarray(2.0 * ndtr(-bound / optimal_spread(problem, alpha)))
