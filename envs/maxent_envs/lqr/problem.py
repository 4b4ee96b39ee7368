"""The linear-quadratic regulation problem: its data, its max-entropy optimum, and the value of other controllers."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from maxent_envs.lqr import linalg
from maxent_envs.validation import FloatArray, array, integer, number, read_only, semidefinite

NOISE_VARIANCE = 0.01
ALPHA_RANGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False, init=False)
class LQRProblem:
    """Linear dynamics, Gaussian noise, quadratic cost, discount.

    x_{k+1} = A x_k + B u_k + w_k with w ~ N(0, W); reward -(x'Qx + u'Ru + 2 x'Nu); x_0 ~ N(0, X_0); n states, m inputs.
    Arrays are stored in float64 and read-only; two problems are equal if all their numbers are. Whether a matrix is
    definite is tested after scaling its diagonal to one, so that units do not matter.

    :param A: Dynamics, shape (n, n).
    :param B: Input matrix, shape (n, m); (sqrt(gamma) A, sqrt(gamma) B) must be stabilizable.
    :param Q: State cost, shape (n, n), symmetric positive semidefinite. What it does not see must decay by itself:
        (sqrt(gamma) (A - B R^-1 N'), (Q - N R^-1 N')^(1/2)) must be detectable.
    :param R: Input cost, shape (m, m), symmetric positive definite.
    :param N: Cross term of the cost, shape (n, m), with [[Q, N], [N', R]] positive semidefinite; 0 by default.
    :param noise_cov: Noise covariance W, shape (n, n), symmetric positive semidefinite; 0.01 I by default.
    :param initial_cov: Covariance X_0 of the first state, shape (n, n), symmetric positive semidefinite; I by default.
    :param gamma: Discount factor, strictly between 0 and 1.
    :raises ValueError: If an argument has the wrong shape, is not finite, not symmetric or not definite as required,
        if gamma is out of range, or if the problem is not stabilizable or not detectable. A mode within 1e-9 of the
        unit circle that the input does not move is only warned of.
    """

    A: FloatArray
    B: FloatArray
    Q: FloatArray
    R: FloatArray
    N: FloatArray
    noise_cov: FloatArray
    initial_cov: FloatArray
    gamma: float
    _riccati: FloatArray = field(repr=False)

    def __init__(
        self,
        A: npt.ArrayLike,
        B: npt.ArrayLike,
        Q: npt.ArrayLike,
        R: npt.ArrayLike,
        N: npt.ArrayLike | None = None,
        noise_cov: npt.ArrayLike | None = None,
        initial_cov: npt.ArrayLike | None = None,
        gamma: float = 0.95,
    ) -> None:
        dynamics = array("A", A, (None, None))
        n = len(dynamics)
        dynamics = array("A", dynamics, (n, n))
        fits_a = f"A of shape {dynamics.shape}"
        inputs = array("B", B, (n, None), fits_a)
        m = inputs.shape[1]
        checked = {
            "A": dynamics,
            "B": inputs,
            "Q": semidefinite("Q", Q, n, to_fit=fits_a),
            "R": semidefinite("R", R, m, strictly=True, to_fit=f"B of shape {inputs.shape}"),
            "N": array("N", np.zeros((n, m)) if N is None else N, (n, m), f"B of shape {inputs.shape}"),
            "noise_cov": semidefinite("noise_cov", NOISE_VARIANCE * np.eye(n) if noise_cov is None else noise_cov, n),
            "initial_cov": semidefinite("initial_cov", np.eye(n) if initial_cov is None else initial_cov, n),
            "gamma": number("gamma", gamma, 0.0, 1.0, between=True),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        semidefinite("the joint cost [[Q, N], [N', R]]", self.cost, n + m)
        object.__setattr__(self, "_riccati", linalg.solve_riccati(self.A, self.B, self.cost, self.gamma))

    @cached_property
    def cost(self) -> FloatArray:
        """The joint cost matrix [[Q, N], [N', R]] of (x, u), shape (n + m, n + m)."""
        return read_only(np.block([[self.Q, self.N], [self.N.T, self.R]]))

    @property
    def n_states(self) -> int:
        """Number of states, n."""
        return len(self.A)

    @property
    def n_inputs(self) -> int:
        """Number of inputs, m."""
        return len(self.R)

    def solve(self, alpha: float) -> "LQRSolution":
        """The max-entropy optimum at one temperature, in closed form.

        :param alpha: Temperature, positive.
        :return: Gain, covariance and value of the optimum.
        :raises ValueError: If alpha is not positive, or outside float32's range.
        """
        alpha = number("alpha", alpha, *ALPHA_RANGE)
        return LQRSolution(self, *self._improvement(alpha, self._riccati), alpha)

    def evaluate(self, alpha: float, K: npt.ArrayLike, Sigma: npt.ArrayLike) -> "LinearGaussian":
        """Exact soft value and soft Q-function of actions from N(-K x, Sigma).

        :param alpha: Temperature, positive.
        :param K: Gain, shape (m, n), stabilising.
        :param Sigma: Covariance of the actions, shape (m, m), positive definite.
        :return: The controller with its value.
        :raises ValueError: If a shape is wrong, Sigma not positive definite, alpha not positive, or K does not
            stabilise sqrt(gamma) (A - B K): the discounted return is minus infinity then.
        """
        gain = array("K", K, (self.n_inputs, self.n_states))
        radius = np.sqrt(self.gamma) * linalg.spectral_radius(self.A - self.B @ gain)
        if radius >= 1.0:
            raise ValueError(
                "K must stabilise the problem: the spectral radius of sqrt(gamma) (A - B K) must be under 1, "
                f"got {radius:.6g} with K = {gain.tolist()}"
            )
        Sigma = semidefinite("Sigma", Sigma, self.n_inputs, strictly=True)
        return LinearGaussian(self, gain, Sigma, number("alpha", alpha, *ALPHA_RANGE))

    def soft_policy_iteration(self, alpha: float, K: npt.ArrayLike, Sigma: npt.ArrayLike) -> Iterator["LinearGaussian"]:
        """Exact soft policy iteration from N(-K x, Sigma).

        Evaluation gives P of the current gain, hence the exact soft Q-function; improvement takes
        K_new = G^-1 (gamma B'PA + N') and Sigma_new = alpha/2 G^-1 with G = R + gamma B'PB. The gains converge
        quadratically to the optimum. Arguments and errors (at the call) are those of :meth:`evaluate`.

        :return: An endless iterator; its first element is the given controller, evaluated, and each next one is
            improved once. ``itertools.islice`` takes as many as wanted.
        """

        def iterates(current: LinearGaussian) -> Iterator[LinearGaussian]:
            while True:
                yield current
                current = LinearGaussian(self, *self._improvement(current.alpha, current.P), current.alpha)

        return iterates(self.evaluate(alpha, K, Sigma))

    def _improvement(self, alpha: float, P: FloatArray) -> tuple[FloatArray, FloatArray]:
        """K and Sigma of the density proportional to exp(Q(x, .) / alpha), Q the soft Q-function that belongs to P."""
        M, n = linalg.q_matrix(self.A, self.B, self.cost, self.gamma, P), self.n_states
        Sigma = 0.5 * alpha * np.linalg.inv(M[n:, n:])
        K = np.asarray(np.linalg.solve(M[n:, n:], M[n:, :n]), np.float64)
        return K, np.asarray(0.5 * (Sigma + Sigma.T))

    def reward(self, x: FloatArray, u: FloatArray) -> FloatArray:
        """Reward -(x'Qx + u'Ru + 2 x'Nu) of actions u, (..., m), taken in states x, (..., n): shape (...)."""
        own = linalg.quadratic_form(self.Q, x) + linalg.quadratic_form(self.R, u)
        return np.asarray(-own - 2.0 * ((x @ self.N) * u).sum(-1))

    def next_state(self, x: FloatArray, u: FloatArray, standard_normal: FloatArray) -> FloatArray:
        """One step of the dynamics, A x + B u + W^(1/2) z.

        :param x: States, shape (..., n), float64.
        :param u: Actions, shape (..., m), float64.
        :param standard_normal: Standard normal numbers z, shape (..., n), which become the noise.
        :return: Next states, shape (..., n).
        """
        return np.asarray(x @ self.A.T + u @ self.B.T + standard_normal @ self._noise_root)

    def initial_state(self, standard_normal: FloatArray) -> FloatArray:
        """First states X_0^(1/2) z of standard normal numbers z, both of shape (..., n)."""
        return np.asarray(standard_normal @ self._initial_root)

    @cached_property
    def _noise_root(self) -> FloatArray:
        return linalg.square_root(self.noise_cov)

    @cached_property
    def _initial_root(self) -> FloatArray:
        return linalg.square_root(self.initial_cov)

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments as nested lists, for JSON and for ``gym.make(..., **problem.to_dict())``."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in self.argument_names()}

    @classmethod
    def argument_names(cls) -> tuple[str, ...]:
        """Names of the constructor's arguments, in order."""
        return tuple(entry.name for entry in fields(cls) if entry.name != "_riccati")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LQRProblem) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.A.tobytes(), self.B.tobytes(), self.gamma))

    def __reduce__(self) -> tuple[type["LQRProblem"], tuple[Any, ...]]:
        # Pickle and deepcopy go through the constructor, since numpy forgets the read-only flag.
        return LQRProblem, tuple(getattr(self, name) for name in self.argument_names())


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """Actions from N(-K x, Sigma), with their exact soft value and soft Q-function at one temperature.

    V(x) = -x'Px + c with P = L'[[Q, N], [N', R]]L + gamma (A - BK)' P (A - BK), L = [I; -K], H the entropy, and
    c = [alpha H - tr((R + gamma B'PB) Sigma) - gamma tr(P W)] / (1 - gamma). Made by :meth:`LQRProblem.evaluate`.

    Methods take states x, shape (..., n), and actions u, shape (..., m), whose leading axes broadcast; what is not
    finite or does not fit is a ``ValueError``.

    :param problem: The problem.
    :param K: Gain, shape (m, n).
    :param Sigma: Covariance of the actions, shape (m, m).
    :param alpha: Temperature.
    """

    problem: LQRProblem
    K: FloatArray
    Sigma: FloatArray
    alpha: float
    P: FloatArray = field(init=False)
    value_constant: float = field(init=False)
    _factor: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        problem, n = self.problem, self.problem.n_states
        P = linalg.discounted_sum(self.closed_loop.T, self._mean_cost, problem.gamma)
        factor = np.asarray(np.linalg.cholesky(self.Sigma), np.float64)
        for name, values in {"K": self.K, "Sigma": self.Sigma, "P": P, "_factor": factor}.items():
            object.__setattr__(self, name, read_only(values))
        M = linalg.q_matrix(problem.A, problem.B, problem.cost, problem.gamma, P)
        loss = np.trace(M[n:, n:] @ self.Sigma) + problem.gamma * np.trace(P @ problem.noise_cov)
        constant = (self.alpha * self.entropy - loss) / (1.0 - problem.gamma)
        object.__setattr__(self, "value_constant", float(constant))

    @property
    def closed_loop(self) -> FloatArray:
        """The matrix A - B K of the states under the mean action, shape (n, n)."""
        return self.problem.A - self.problem.B @ self.K

    @property
    def _mean_cost(self) -> FloatArray:
        """L'[[Q, N], [N', R]]L, L = [I; -K]: the matrix of one step's cost under the mean action, shape (n, n)."""
        L = np.vstack([np.eye(self.problem.n_states), -self.K])
        return np.asarray(L.T @ self.problem.cost @ L)

    @property
    def entropy(self) -> float:
        """Entropy in nats, H = m/2 log(2 pi e) + 1/2 log det Sigma, the same in every state."""
        return float(0.5 * len(self.K) * (1.0 + np.log(2.0 * np.pi)) + np.log(np.diag(self._factor)).sum())

    def mean(self, x: npt.ArrayLike) -> FloatArray:
        """Mean actions -K x, shape (..., m)."""
        return np.asarray(-self._states(x) @ self.K.T)

    def sample(self, x: npt.ArrayLike, rng: np.random.Generator) -> FloatArray:
        """Draw one action in each state, shape (..., m), by m standard normal numbers for each from ``rng``."""
        mean = self.mean(x)
        return np.asarray(mean + rng.standard_normal(mean.shape) @ self._factor.T)

    def log_prob(self, x: npt.ArrayLike, u: npt.ArrayLike) -> FloatArray:
        """Log-density of actions, log N(u; -K x, Sigma), in nats, shape (...)."""
        m = len(self.K)
        deviation = self._actions(u) - self.mean(x)
        whitened = deviation @ solve_triangular(self._factor, np.eye(m), lower=True).T
        return np.asarray(0.5 * m - 0.5 * (whitened**2).sum(-1) - self.entropy)

    def value(self, x: npt.ArrayLike) -> FloatArray:
        """Soft value V(x) = -x'Px + value_constant, entropy of this and all later actions included, shape (...)."""
        return self.value_constant - linalg.quadratic_form(self.P, self._states(x))

    def q_value(self, x: npt.ArrayLike, u: npt.ArrayLike) -> FloatArray:
        """Soft Q-function Q(x, u) = -(x'Qx + u'Ru + 2 x'Nu) + gamma E V(Ax + Bu + w), shape (...).

        The entropy of u itself is not in it: E_u[Q(x, u) - alpha log pi(u|x)] = V(x).
        """
        problem, states, actions = self.problem, self._states(x), self._actions(u)
        later = self.value(states @ problem.A.T + actions @ problem.B.T) - np.trace(self.P @ problem.noise_cov)
        return np.asarray(problem.reward(states, actions) + problem.gamma * later)

    def next_state_covariance(self, covariance: FloatArray) -> FloatArray:
        """Second moment of the state one step on, X' = (A - BK) X (A - BK)' + B Sigma B' + W, from X = E[x x']."""
        F, B = self.closed_loop, self.problem.B
        return np.asarray(F @ covariance @ F.T + B @ self.Sigma @ B.T + self.problem.noise_cov)

    def expected_return(self, horizon: int | None = None) -> float:
        """Expected discounted return -E sum gamma^k (x'Qx + u'Ru + 2 x'Nu) from the initial distribution, no entropy.

        Infinite horizon: -tr(P X_0) - [tr((R + gamma B'PB) Sigma) + gamma tr(P W)] / (1 - gamma).
        Finite horizon T: -sum over k < T of gamma^k [tr(L'[[Q, N], [N', R]]L X_k) + tr(R Sigma)], L = [I; -K], X_k by
        :meth:`next_state_covariance`.

        :param horizon: Number of steps T >= 1; ``None`` for the infinite horizon.
        :return: The expected return.
        :raises ValueError: If the horizon is no positive integer.
        """
        problem = self.problem
        if horizon is None:
            soft_return = self.value_constant - np.trace(self.P @ problem.initial_cov)
            return float(soft_return - self.alpha * self.entropy / (1.0 - problem.gamma))
        cost, exploration = self._mean_cost, np.trace(problem.R @ self.Sigma)
        moment, total = problem.initial_cov, 0.0
        for step in range(integer("horizon", horizon, 1)):
            total -= problem.gamma**step * (np.trace(cost @ moment) + exploration)
            moment = self.next_state_covariance(moment)
        return float(total)

    def expected_soft_return(self, horizon: int | None = None) -> float:
        """Expected discounted return with the entropy bonus alpha H (1 - gamma^T) / (1 - gamma).

        On the infinite horizon (gamma^T = 0) it is E V(x_0) = -tr(P X_0) + value_constant.

        :param horizon: Number of steps T >= 1; ``None`` for the infinite horizon.
        :return: The expected soft return.
        :raises ValueError: If the horizon is no positive integer.
        """
        plain, gamma = self.expected_return(horizon), self.problem.gamma
        left = 0.0 if horizon is None else gamma**horizon
        return plain + self.alpha * self.entropy * (1.0 - left) / (1.0 - gamma)

    def _states(self, x: npt.ArrayLike) -> FloatArray:
        return array("x", x, (..., self.problem.n_states))

    def _actions(self, u: npt.ArrayLike) -> FloatArray:
        return array("u", u, (..., self.problem.n_inputs))


@dataclass(frozen=True, eq=False)
class LQRSolution(LinearGaussian):
    """The max-entropy optimum pi*(.|x) = N(-K x, Sigma), with its value.

    With G = R + gamma B'PB and P from the Riccati equation: K = G^-1 (gamma B'PA + N'), Sigma = alpha/2 G^-1.
    Made by :meth:`LQRProblem.solve`; the attributes are those of :class:`LinearGaussian`.
    """
