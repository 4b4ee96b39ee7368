"""Linear Gaussian policies: the class to which the max-entropy optimum of a linear-quadratic problem belongs."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from maxent_envs.lqr.linalg import action_curvature, discounted_sum, spectral_radius, transform
from maxent_envs.validation import FloatArray, integer, matrix, positive_definite, read_only, vectors

if TYPE_CHECKING:
    from maxent_envs.lqr.problem import LQRProblem


@dataclass(frozen=True, eq=False)
class LinearGaussianPolicy:
    """The policy pi(.|x) = N(-K x, Sigma) on a linear-quadratic problem.

    :param problem: The problem that the policy acts on.
    :param K: Gain, shape (m, n).
    :param Sigma: Covariance of the actions, shape (m, m), positive definite.
    :raises ValueError: If a shape is wrong, Sigma is not positive definite, or K does not stabilise
        sqrt(gamma) (A - B K): the discounted return is minus infinity then.
    """

    problem: "LQRProblem"
    K: FloatArray
    Sigma: FloatArray
    _factor: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        problem = self.problem
        K = matrix("K", self.K, (problem.n_inputs, problem.n_states))
        Sigma = positive_definite("Sigma", self.Sigma, problem.n_inputs)
        radius = np.sqrt(problem.gamma) * spectral_radius(problem.A - problem.B @ K)
        if radius >= 1.0:
            raise ValueError(
                "K must stabilise the problem: the spectral radius of sqrt(gamma) (A - B K) must be under 1, "
                f"got {radius:.6g} with K = {K.tolist()}"
            )
        object.__setattr__(self, "K", read_only(K))
        object.__setattr__(self, "Sigma", read_only(Sigma))
        object.__setattr__(self, "_factor", read_only(np.asarray(np.linalg.cholesky(Sigma), dtype=np.float64)))

    @property
    def closed_loop(self) -> FloatArray:
        """The matrix A - B K of the states under the mean action, shape (n, n)."""
        return self.problem.A - self.problem.B @ self.K

    @property
    def entropy(self) -> float:
        """Entropy in nats, H = m/2 log(2 pi e) + 1/2 log det Sigma, the same in every state."""
        m = self.problem.n_inputs
        return float(0.5 * m * (1.0 + np.log(2.0 * np.pi)) + np.log(np.diag(self._factor)).sum())

    def mean(self, x: object) -> FloatArray:
        """Mean action -K x.

        :param x: States, shape (..., n).
        :return: Actions, shape (..., m).
        :raises ValueError: If the states are not finite or have the wrong last axis.
        """
        return -transform(self.K, vectors("x", x, self.problem.n_states))

    def log_prob(self, x: object, u: object) -> FloatArray:
        """Log-density of actions, log N(u; -K x, Sigma), in nats.

        :param x: States, shape (..., n).
        :param u: Actions, shape (..., m); leading axes broadcast against those of the states.
        :return: Log-densities, shape (...).
        :raises ValueError: If an input is not finite or has the wrong last axis.
        """
        m = self.problem.n_inputs
        deviation = vectors("u", u, m) - self.mean(x)
        whitened = transform(np.asarray(np.linalg.inv(self._factor), dtype=np.float64), deviation)
        log_det = 2.0 * np.log(np.diag(self._factor)).sum()
        return np.asarray(-0.5 * ((whitened**2).sum(axis=-1) + log_det + m * np.log(2.0 * np.pi)))

    def sample(self, x: object, rng: np.random.Generator) -> FloatArray:
        """Draw one action in each state.

        :param x: States, shape (..., n).
        :param rng: Source of the randomness; m standard normal numbers are drawn for each state.
        :return: Actions, shape (..., m).
        :raises ValueError: If the states are not finite or have the wrong last axis.
        """
        mean = self.mean(x)
        return mean + transform(self._factor, rng.standard_normal(mean.shape))

    def value_matrix(self) -> FloatArray:
        """P of the value -x'Px + constant: P = Q + K'RK + gamma (A - BK)' P (A - BK).

        :return: P, shape (n, n).
        """
        problem = self.problem
        return discounted_sum(self.closed_loop.T, problem.Q + self.K.T @ problem.R @ self.K, problem.gamma)

    def next_state_covariance(self, covariance: FloatArray) -> FloatArray:
        """Second moment of the state one step on: X' = (A - BK) X (A - BK)' + B Sigma B' + W.

        :param covariance: Second moment X = E[x x'], shape (n, n).
        :return: X', shape (n, n).
        """
        F, B = self.closed_loop, self.problem.B
        return np.asarray(F @ covariance @ F.T + B @ self.Sigma @ B.T + self.problem.noise_cov)

    def expected_return(self, horizon: int | None = None) -> float:
        """Expected discounted return -E sum gamma^k (x'Qx + u'Ru) from the initial distribution, without entropy.

        Infinite horizon: -tr(P X_0) - [tr((R + gamma B'PB) Sigma) + gamma tr(P W)] / (1 - gamma).
        Finite horizon T: -sum over k < T of gamma^k [tr((Q + K'RK) X_k) + tr(R Sigma)], X_k by
        :meth:`next_state_covariance`.

        :param horizon: Number of steps T >= 1; ``None`` for the infinite horizon.
        :return: The expected return.
        :raises ValueError: If the horizon is no positive integer.
        """
        problem = self.problem
        if horizon is not None:
            return self._finite_return(integer("horizon", horizon, 1))
        P = self.value_matrix()
        running = np.trace(action_curvature(problem.B, problem.R, problem.gamma, P) @ self.Sigma)
        running += problem.gamma * np.trace(P @ problem.noise_cov)
        return float(-np.trace(P @ problem.initial_cov) - running / (1.0 - problem.gamma))

    def _finite_return(self, horizon: int) -> float:
        problem = self.problem
        cost = problem.Q + self.K.T @ problem.R @ self.K
        exploration = np.trace(problem.R @ self.Sigma)
        moment, factor, total = problem.initial_cov, 1.0, 0.0
        for _ in range(horizon):
            total -= factor * (np.trace(cost @ moment) + exploration)
            moment = self.next_state_covariance(moment)
            factor *= problem.gamma
        return float(total)
