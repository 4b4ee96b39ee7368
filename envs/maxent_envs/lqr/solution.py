"""Soft policy evaluation in closed form, and the max-entropy optimum of a linear-quadratic problem."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from maxent_envs.lqr.linalg import action_curvature, greedy_gain, quadratic_form, transform
from maxent_envs.lqr.policy import LinearGaussianPolicy
from maxent_envs.validation import FloatArray, integer, interval, positive_float, read_only, vectors

if TYPE_CHECKING:
    from maxent_envs.lqr.problem import LQRProblem

Evaluation = TypeVar("Evaluation", bound="EvaluatedPolicy")


@dataclass(frozen=True, eq=False)
class EvaluatedPolicy(LinearGaussianPolicy):
    """A linear Gaussian policy with its exact soft value and soft Q-function at one temperature.

    V(x) = -x'Px + c with P as in :meth:`LinearGaussianPolicy.value_matrix`, H the entropy and
    c = [alpha H - tr((R + gamma B'PB) Sigma) - gamma tr(P W)] / (1 - gamma).

    :param problem: The problem that the policy acts on.
    :param K: Gain, shape (m, n).
    :param Sigma: Covariance of the actions, shape (m, m).
    :param alpha: Temperature, positive.
    :raises ValueError: As :class:`LinearGaussianPolicy`, or if alpha is not positive.
    """

    alpha: float
    P: FloatArray = field(init=False)
    value_constant: float = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        problem = self.problem
        alpha = positive_float("alpha", self.alpha)
        P = self.value_matrix()
        loss = np.trace(action_curvature(problem.B, problem.R, problem.gamma, P) @ self.Sigma)
        loss += problem.gamma * np.trace(P @ problem.noise_cov)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "P", read_only(P))
        object.__setattr__(self, "value_constant", float((alpha * self.entropy - loss) / (1.0 - problem.gamma)))

    def value(self, x: object) -> FloatArray:
        """Soft value V(x) = -x'Px + value_constant: entropy of this and all later actions included.

        :param x: States, shape (..., n).
        :return: Values, shape (...).
        :raises ValueError: If the states are not finite or have the wrong last axis.
        """
        return self.value_constant - quadratic_form(self.P, vectors("x", x, self.problem.n_states))

    def q_value(self, x: object, u: object) -> FloatArray:
        """Soft Q-function Q(x, u) = -(x'Qx + u'Ru) + gamma E V(Ax + Bu + w).

        The entropy of u itself is not in it: E_u[Q(x, u) - alpha log pi(u|x)] = V(x).

        :param x: States, shape (..., n).
        :param u: Actions, shape (..., m); leading axes broadcast against those of the states.
        :return: Values, shape (...).
        :raises ValueError: If an input is not finite or has the wrong last axis.
        """
        problem = self.problem
        x, u = vectors("x", x, problem.n_states), vectors("u", u, problem.n_inputs)
        expected_next = transform(problem.A, x) + transform(problem.B, u)
        noise_loss = np.trace(self.P @ problem.noise_cov)
        later = self.value_constant - quadratic_form(self.P, expected_next) - noise_loss
        return np.asarray(problem.reward(x, u) + problem.gamma * later)

    def expected_soft_return(self, horizon: int | None = None) -> float:
        """Expected discounted return with the entropy bonus, from the initial distribution.

        E V(x_0) = -tr(P X_0) + value_constant on the infinite horizon; on T steps
        ``expected_return(T) + alpha H (1 - gamma^T) / (1 - gamma)``.

        :param horizon: Number of steps T >= 1; ``None`` for the infinite horizon.
        :return: The expected soft return.
        :raises ValueError: If the horizon is no positive integer.
        """
        gamma = self.problem.gamma
        discounted_steps = 1.0 if horizon is None else 1.0 - gamma ** integer("horizon", horizon, 1)
        return self.expected_return(horizon) + self.alpha * self.entropy * discounted_steps / (1.0 - gamma)


@dataclass(frozen=True, eq=False)
class LQRSolution(EvaluatedPolicy):
    """The max-entropy optimum pi*(.|x) = N(-K x, Sigma), with its value.

    With G = R + gamma B'PB and P from the Riccati equation: K = gamma G^-1 B'PA, Sigma = alpha/2 G^-1.
    Made by :meth:`LQRProblem.solve`; the attributes are those of :class:`EvaluatedPolicy`.
    """


def greedy(kind: type[Evaluation], problem: "LQRProblem", alpha: float, P: FloatArray) -> Evaluation:
    """Evaluate the policy proportional to exp(Q(x, .) / alpha), Q the soft Q-function that belongs to P.

    K = gamma G^-1 B'PA and Sigma = alpha/2 G^-1, G = R + gamma B'PB.

    :param kind: Class of the result.
    :param problem: The problem.
    :param alpha: Temperature.
    :param P: Matrix of the quadratic value, shape (n, n).
    :return: The improved policy with its own value.
    :raises ValueError: If alpha is not positive or outside float32's range.
    """
    limits = np.finfo(np.float32)
    alpha = interval("alpha", positive_float("alpha", alpha), float(limits.tiny), float(limits.max))
    curvature = action_curvature(problem.B, problem.R, problem.gamma, P)
    Sigma = 0.5 * alpha * np.linalg.inv(curvature)
    K = greedy_gain(problem.A, problem.B, problem.R, problem.gamma, P)
    return kind(problem=problem, K=K, Sigma=0.5 * (Sigma + Sigma.T), alpha=alpha)
