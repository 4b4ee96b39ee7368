"""The linear-quadratic regulation problem as data: matrices, noise, discount."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from maxent_envs.lqr.iteration import soft_policy_iteration
from maxent_envs.lqr.linalg import is_stabilizable, quadratic_form, solve_riccati, square_root, transform
from maxent_envs.lqr.solution import EvaluatedPolicy, LQRSolution, greedy
from maxent_envs.validation import FloatArray, covariance, discount, matrix, positive_definite, read_only

NOISE_VARIANCE = 0.01


@dataclass(frozen=True, eq=False, init=False)
class LQRProblem:
    """Linear dynamics, Gaussian noise, quadratic cost, discount.

    x_{k+1} = A x_k + B u_k + w_k with w ~ N(0, W); reward -(x'Qx + u'Ru); x_0 ~ N(0, X_0); n states, m inputs.
    Arrays are stored in float64 and read-only; two problems are equal if all their numbers are.

    :param A: Dynamics, shape (n, n).
    :param B: Input matrix, shape (n, m).
    :param Q: State cost, shape (n, n), symmetric positive definite.
    :param R: Input cost, shape (m, m), symmetric positive definite.
    :param noise_cov: Noise covariance W, shape (n, n), symmetric positive semidefinite; 0.01 I by default.
    :param initial_cov: Covariance X_0 of the first state, shape (n, n), symmetric positive semidefinite; I by default.
    :param gamma: Discount factor, strictly between 0 and 1.
    :raises ValueError: If an argument has the wrong shape, is not finite, not symmetric or not definite as required,
        if gamma is out of range, or if (sqrt(gamma) A, sqrt(gamma) B) is not stabilizable.
    """

    A: FloatArray
    B: FloatArray
    Q: FloatArray
    R: FloatArray
    noise_cov: FloatArray
    initial_cov: FloatArray
    gamma: float
    _riccati: FloatArray = field(repr=False)

    def __init__(
        self,
        A: object,
        B: object,
        Q: object,
        R: object,
        noise_cov: object = None,
        initial_cov: object = None,
        gamma: object = 0.95,
    ) -> None:
        dynamics = matrix("A", A, (None, None))
        n = dynamics.shape[0]
        dynamics = matrix("A", A, (n, n))
        fits_a = f"A of shape {dynamics.shape}"
        inputs = matrix("B", B, (n, None), fits_a)
        set_field = object.__setattr__
        set_field(self, "A", read_only(dynamics))
        set_field(self, "B", read_only(inputs))
        set_field(self, "Q", read_only(positive_definite("Q", Q, n, fits_a)))
        set_field(self, "R", read_only(positive_definite("R", R, inputs.shape[1], f"B of shape {inputs.shape}")))
        noise = NOISE_VARIANCE * np.eye(n) if noise_cov is None else noise_cov
        set_field(self, "noise_cov", read_only(covariance("noise_cov", noise, n)))
        initial = np.eye(n) if initial_cov is None else initial_cov
        set_field(self, "initial_cov", read_only(covariance("initial_cov", initial, n)))
        set_field(self, "gamma", discount("gamma", gamma))
        set_field(self, "_riccati", read_only(self._solve_riccati()))

    def _solve_riccati(self) -> FloatArray:
        root = np.sqrt(self.gamma)
        if not is_stabilizable(root * self.A, root * self.B):
            raise ValueError(
                "A, B must be stabilizable: an input must reach every mode that sqrt(gamma) A does not damp, "
                f"got A = {self.A.tolist()}, B = {self.B.tolist()}, gamma = {self.gamma}"
            )
        return solve_riccati(self.A, self.B, self.Q, self.R, self.gamma)

    @property
    def n_states(self) -> int:
        """Number of states, n."""
        return int(self.B.shape[0])

    @property
    def n_inputs(self) -> int:
        """Number of inputs, m."""
        return int(self.B.shape[1])

    def solve(self, alpha: float) -> LQRSolution:
        """The max-entropy optimum at one temperature, in closed form.

        :param alpha: Temperature, positive.
        :return: Gain, covariance and value of the optimal policy.
        :raises ValueError: If alpha is not a positive number.
        """
        return greedy(LQRSolution, self, alpha, self._riccati)

    def evaluate(self, alpha: float, K: object, Sigma: object) -> EvaluatedPolicy:
        """Exact soft value and soft Q-function of the policy N(-K x, Sigma).

        :param alpha: Temperature, positive.
        :param K: Gain, shape (m, n), stabilising.
        :param Sigma: Covariance of the actions, shape (m, m), positive definite.
        :return: The policy with its value.
        :raises ValueError: If a shape is wrong, Sigma not positive definite, alpha not positive, or
            sqrt(gamma) (A - B K) not stable.
        """
        return EvaluatedPolicy(problem=self, K=K, Sigma=Sigma, alpha=alpha)  # type: ignore[arg-type]

    def soft_policy_iteration(self, alpha: float, K0: object, Sigma0: object) -> Iterator[EvaluatedPolicy]:
        """Exact soft policy iteration from N(-K0 x, Sigma0), see :func:`.iteration.soft_policy_iteration`.

        :param alpha: Temperature, positive.
        :param K0: First gain, shape (m, n), stabilising.
        :param Sigma0: First covariance, shape (m, m), positive definite.
        :return: An endless iterator over the evaluated policies, the given one first.
        :raises ValueError: At the call, if the first policy cannot be evaluated.
        """
        return soft_policy_iteration(self, alpha, K0, Sigma0)

    def reward(self, x: FloatArray, u: FloatArray) -> FloatArray:
        """Reward -(x'Qx + u'Ru) of an action taken in a state.

        :param x: States, shape (..., n), float64.
        :param u: Actions, shape (..., m), float64.
        :return: Rewards, shape (...).
        """
        return -(quadratic_form(self.Q, x) + quadratic_form(self.R, u))

    def next_state(self, x: FloatArray, u: FloatArray, standard_normal: FloatArray) -> FloatArray:
        """One step of the dynamics, A x + B u + W^(1/2) z.

        :param x: States, shape (..., n), float64.
        :param u: Actions, shape (..., m), float64.
        :param standard_normal: Standard normal numbers z, shape (..., n), which become the noise.
        :return: Next states, shape (..., n).
        """
        return transform(self.A, x) + transform(self.B, u) + transform(self._noise_root, standard_normal)

    def initial_state(self, standard_normal: FloatArray) -> FloatArray:
        """First states X_0^(1/2) z.

        :param standard_normal: Standard normal numbers z, shape (..., n).
        :return: States, shape (..., n).
        """
        return transform(self._initial_root, standard_normal)

    @cached_property
    def _noise_root(self) -> FloatArray:
        return square_root(self.noise_cov)

    @cached_property
    def _initial_root(self) -> FloatArray:
        return square_root(self.initial_cov)

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments as nested lists, for files and for ``gym.make(..., **problem.to_dict())``.

        :return: A dictionary that JSON can hold.
        """
        return {name: np.asarray(getattr(self, name)).tolist() for name in self.argument_names()}

    @classmethod
    def argument_names(cls) -> tuple[str, ...]:
        """Names of the constructor's arguments, in order.

        :return: The names.
        """
        return tuple(entry.name for entry in fields(cls) if not entry.name.startswith("_"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LQRProblem) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.A.tobytes(), self.B.tobytes(), self.gamma))

    def __reduce__(self) -> tuple[type["LQRProblem"], tuple[Any, ...]]:
        # Pickle and deepcopy go through the constructor, since numpy forgets the read-only flag.
        return LQRProblem, tuple(getattr(self, name) for name in self.argument_names())
