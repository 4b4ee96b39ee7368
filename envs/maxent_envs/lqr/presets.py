"""Problems by name, and random ones by seed."""

from pathlib import Path

import numpy as np

from maxent_envs.lqr.linalg import spectral_radius as radius_of
from maxent_envs.lqr.problem import LQRProblem
from maxent_envs.lqr.sources import load_problem
from maxent_envs.validation import FloatArray, choice, integer, number

MAX_SIZE = 1000  # of a random problem: a Riccati equation of that size takes seconds
SCALES = (1e-6, 1e3)  # of its numbers: far beyond, double precision finds no solution


_FILES = {path.stem: path for path in sorted((Path(__file__).parent / "systems").glob("*.yml"))}

PRESETS: dict[str, str] = {
    name: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip() for name, path in _FILES.items()
}
"""Names that :func:`preset` knows, each with what it is and where it comes from."""


def preset(name: str = "default") -> LQRProblem:
    """A problem by name.

    :param name: A key of ``PRESETS``: four of this project, ``"default"`` (2 states, 2 inputs, correlated optimum),
        ``"scalar"``, ``"unstable"`` (grows without control even after discounting) and ``"six-state"``; and seven of
        the literature.
    :return: The problem.
    :raises ValueError: If there is no such preset.
    """
    return load_problem(_FILES[choice("preset", name, PRESETS)])


def random_problem(
    n_states: int, n_inputs: int, seed: int, spectral_radius: float = 1.0, noise_std: float = 0.1, gamma: float = 0.95
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
    radius = number("spectral_radius", spectral_radius, *SCALES)
    rng = np.random.default_rng(integer("seed", seed, 0))
    A = rng.standard_normal((n, n))
    B, std = rng.standard_normal((n, m)) / np.sqrt(n), number("noise_std", noise_std, *SCALES)
    Q, R = _random_definite(rng, n, 0.5, 2.0), _random_definite(rng, m, 0.1, 0.4)
    return LQRProblem(A * (radius / radius_of(A)), B, Q, R, noise_cov=std**2 * np.eye(n), gamma=gamma)


def _random_definite(rng: np.random.Generator, size: int, low: float, high: float) -> FloatArray:
    rotation, _ = np.linalg.qr(rng.standard_normal((size, size)))
    result = (rotation * rng.uniform(low, high, size)) @ rotation.T
    return np.asarray(0.5 * (result + result.T))
