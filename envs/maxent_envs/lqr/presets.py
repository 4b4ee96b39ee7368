"""Problems by name, and random ones by seed."""

from collections.abc import Callable

import numpy as np

from maxent_envs.lqr.linalg import spectral_radius
from maxent_envs.lqr.problem import LQRProblem
from maxent_envs.validation import FloatArray, choice, integer, interval

MAX_SIZE = 1000  # of a random problem: a Riccati equation of that size takes seconds
SCALES = (1e-6, 1e3)  # of its numbers: far beyond, double precision finds no solution


def _default() -> LQRProblem:
    """Two states, two inputs that push in similar directions: the optimal actions are anticorrelated by 0.55."""
    return LQRProblem(
        A=[[0.9, 0.3], [-0.2, 0.8]],
        B=[[0.5, 0.4], [0.1, 0.3]],
        Q=np.eye(2),
        R=0.2 * np.eye(2),
        noise_cov=0.02 * np.eye(2),
    )


def _scalar() -> LQRProblem:
    """One state, one input: everything can be drawn on a line."""
    return LQRProblem(A=[[0.9]], B=[[0.5]], Q=[[1.0]], R=[[0.2]], noise_cov=[[0.02]])


def _unstable() -> LQRProblem:
    """Two states, two inputs; without control the state grows by 10% a step, faster than the discount shrinks it."""
    return LQRProblem(
        A=[[1.1, 0.2], [0.0, 0.9]],
        B=[[0.4, 0.3], [0.1, 0.4]],
        Q=np.eye(2),
        R=0.5 * np.eye(2),
        noise_cov=0.02 * np.eye(2),
        initial_cov=0.25 * np.eye(2),
    )


def _six_state() -> LQRProblem:
    """Three unit masses in a row between two walls, coupled by springs; positions and speeds, three motors.

    Springs of stiffness 0.5, friction 0.3, time step 0.4, semi-implicit Euler; each motor also moves the other masses.
    """
    dt, stiffness, friction = 0.4, 0.5, 0.3
    springs = np.array([[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]])
    motors = np.array([[1.0, 0.7, 0.3], [0.3, 1.0, 0.7], [0.7, 0.3, 1.0]])
    identity = np.eye(3)
    speeds = np.hstack([-dt * stiffness * springs, (1.0 - dt * friction) * identity])
    positions = np.hstack([identity, np.zeros((3, 3))]) + dt * speeds
    return LQRProblem(
        A=np.vstack([positions, speeds]),
        B=np.vstack([dt * dt * motors, dt * motors]),
        Q=np.eye(6),
        R=0.1 * np.eye(3),
        noise_cov=0.02 * np.eye(6),
    )


_PRESETS: dict[str, Callable[[], LQRProblem]] = {
    "default": _default,
    "scalar": _scalar,
    "unstable": _unstable,
    "six-state": _six_state,
}


def preset_names() -> tuple[str, ...]:
    """Names that :func:`preset` knows.

    :return: The names.
    """
    return tuple(_PRESETS)


def preset(name: str = "default") -> LQRProblem:
    """A problem by name.

    :param name: ``"default"`` (2 states, 2 inputs, correlated optimum), ``"scalar"``, ``"unstable"`` (grows without
        control even after discounting) or ``"six-state"`` (6 states, 3 inputs).
    :return: The problem.
    :raises ValueError: If there is no such preset.
    """
    return _PRESETS[choice("preset", name, _PRESETS)]()


def random_problem(
    n_states: int,
    n_inputs: int,
    seed: int,
    spectral_radius: float = 1.0,
    noise_std: float = 0.1,
    gamma: float = 0.95,
) -> LQRProblem:
    """A random stabilizable problem, the same for the same arguments.

    A has normal entries, scaled to the spectral radius; B has entries N(0, 1/n); Q and R are random
    rotations of eigenvalues between 0.5 and 2 (Q) and between 0.1 and 0.4 (R); X_0 = I.

    :param n_states: Number of states, from 1 to 1000.
    :param n_inputs: Number of inputs, from 1 to 1000.
    :param seed: Seed, at least 0.
    :param spectral_radius: Spectral radius of A, from 1e-6 to 1000; above 1/sqrt(gamma) the system is unstable even
        after discounting.
    :param noise_std: Standard deviation of the noise on each state, from 1e-6 to 1000.
    :param gamma: Discount factor, strictly between 0 and 1.
    :return: The problem.
    :raises ValueError: If an argument is out of range.
    """
    n, m = integer("n_states", n_states, 1, MAX_SIZE), integer("n_inputs", n_inputs, 1, MAX_SIZE)
    radius, std = interval("spectral_radius", spectral_radius, *SCALES), interval("noise_std", noise_std, *SCALES)
    rng = np.random.default_rng(integer("seed", seed, 0))
    return LQRProblem(
        A=_with_radius(rng.standard_normal((n, n)), radius),
        B=rng.standard_normal((n, m)) / np.sqrt(n),
        Q=_random_definite(rng, n, 0.5, 2.0),
        R=_random_definite(rng, m, 0.1, 0.4),
        noise_cov=std**2 * np.eye(n),
        gamma=gamma,
    )


def _with_radius(matrix: FloatArray, radius: float) -> FloatArray:
    return matrix * (radius / spectral_radius(matrix))


def _random_definite(rng: np.random.Generator, size: int, low: float, high: float) -> FloatArray:
    rotation, _ = np.linalg.qr(rng.standard_normal((size, size)))
    result = (rotation * rng.uniform(low, high, size)) @ rotation.T
    return np.asarray(0.5 * (result + result.T))
