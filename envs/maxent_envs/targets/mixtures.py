"""Targets made of Gaussians: one, or several that are separate modes."""

from abc import abstractmethod
from functools import reduce

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from maxent_envs.targets.base import MAX_DIM, STD_RANGE, Array, Target, like, log_normalizer, sample_truncated, to_numpy
from maxent_envs.validation import FloatArray, array, integer, number, read_only


class GaussianMixture(Target):
    """p(a|s) = sum_k w_k N(a; m_k(s), std^2 I), each component truncated to the Box and normalised there.

    A component so has the mass w_k in every state. Subclasses say where the modes are, inside the Box.

    :param state_dim: Length of the state.
    :param action_dim: Length d of the action.
    :param std: Standard deviation of each component before truncation, from 0.001 to 10.
    :param weights: Masses w_k of the components, positive, of sum 1.
    """

    def __init__(self, state_dim: int, action_dim: int, std: float, weights: npt.ArrayLike = (1.0,)) -> None:
        super().__init__(state_dim, action_dim)
        self.std = number("std", std, *STD_RANGE)
        masses = array("weights", weights, (None,))
        if not (masses > 0.0).all() or abs(masses.sum() - 1.0) > 1e-6:
            raise ValueError(f"weights must be positive and have the sum 1, got {masses.tolist()}")
        self._masses = read_only(masses / masses.sum())

    @abstractmethod
    def modes(self, states: Array) -> FloatArray:
        """Centres m_k(s) inside the Box, shape (batch, components, action_dim), in states (batch, state_dim)."""

    @property
    def mode_masses(self) -> FloatArray:
        return self._masses

    def mode_of(self, states: Array, actions: Array) -> npt.NDArray[np.intp]:
        """The nearest mode; the share of the actions near it is its mass as far as the components do not overlap."""
        modes = self.modes(self.checked(states, actions))
        squares = np.square(to_numpy(actions)[:, :, None] - modes[:, None]).sum(-1)
        return np.asarray(squares.argmin(-1))

    def log_density(self, states: Array, actions: Array) -> Array:
        modes = self.modes(self.checked(states, actions))
        constants = np.log(self._masses) - log_normalizer(modes, self.std)
        xp = array_namespace(actions)
        components = (
            like(actions, constants[:, None, k])
            - 0.5 * xp.sum(((actions - like(actions, centre)) / self.std) ** 2, axis=-1)
            for k, centre in enumerate(np.split(modes, modes.shape[1], axis=1))
        )
        return reduce(xp.logaddexp, components)

    def sample(self, states: Array, n: int, rng: np.random.Generator) -> FloatArray:
        modes = self.modes(self.checked(states))
        component = rng.choice(len(self._masses), size=(len(modes), n), p=self._masses)
        return sample_truncated(np.take_along_axis(modes, component[..., None], axis=1), self.std, rng)


class SharpGaussian(GaussianMixture):
    """One narrow Gaussian with the mean 0.5 tanh(2 W s), s ~ N(0, I_17), and a fixed random W.

    :param dim: Length of the action, from 1 to 1000.
    :param std: Standard deviation of each coordinate before truncation, from 0.001 to 10.
    """

    def __init__(self, dim: int = 2, std: float = 0.07) -> None:
        super().__init__(state_dim=17, action_dim=integer("dim", dim, 1, MAX_DIM), std=std)
        self._weight = np.random.default_rng(0).standard_normal((dim, self.state_dim)) / np.sqrt(self.state_dim)

    def sample_states(self, n: int, rng: np.random.Generator) -> FloatArray:
        return rng.standard_normal((n, self.state_dim))

    def modes(self, states: Array) -> FloatArray:
        return np.asarray(0.5 * np.tanh(2.0 * self.checked(states) @ self._weight.T)[:, None])


class CorrelatedGaussian(SharpGaussian):
    """A narrow Gaussian whose correlations change with the state: N(m(s), std^2 L(s) L(s)').

    The mean is that of :class:`SharpGaussian`. L is lower triangular, with 0.5 tanh(2 v . s) below a diagonal of ones,
    each with a fixed random v, before its rows are scaled to length 1: every coordinate has the standard deviation
    ``std``. Its mean is at least five of them from the bound, so that below 3e-7 is left out a coordinate and it needs
    no normalisation.

    :param dim: Length of the action, from 1 to 1000.
    :param std: Standard deviation of each coordinate, from 0.001 to 0.1.
    """

    def __init__(self, dim: int = 2, std: float = 0.07) -> None:
        super().__init__(dim, number("std", std, STD_RANGE[0], 0.1))
        size = (dim * (dim - 1) // 2, self.state_dim)
        self._shear = np.random.default_rng(1).standard_normal(size) / np.sqrt(self.state_dim)

    def log_density(self, states: Array, actions: Array) -> Array:
        means, factors = self.modes(self.checked(states, actions)), self.std * self.factors(states)
        whitening = np.asarray(np.linalg.inv(factors).swapaxes(1, 2), np.float64)
        log_volumes = np.log(np.sqrt(2.0 * np.pi) * np.diagonal(factors, axis1=1, axis2=2)).sum(1)
        standardized = (actions - like(actions, means)) @ like(actions, whitening)
        return -0.5 * array_namespace(actions).sum(standardized**2, axis=-1) - like(actions, log_volumes[:, None])

    def sample(self, states: Array, n: int, rng: np.random.Generator) -> FloatArray:
        means, factors = self.modes(states), self.std * self.factors(states)
        noise = rng.standard_normal((len(means), n, self.action_dim))
        return np.asarray(np.clip(means + noise @ factors.swapaxes(1, 2), -1.0, 1.0))

    def factors(self, states: Array) -> FloatArray:
        """L(s), shape (batch, dim, dim)."""
        given = self.checked(states)
        factors = np.tile(np.eye(self.action_dim), (len(given), 1, 1))
        rows, columns = np.tril_indices(self.action_dim, k=-1)
        factors[:, rows, columns] = 0.5 * np.tanh(2.0 * given @ self._shear.T)
        return np.asarray(factors / np.linalg.norm(factors, axis=-1, keepdims=True))


class RotatingMixture(GaussianMixture):
    """Modes evenly spaced on a circle that turns with the state (cos theta, sin theta), theta uniform.

    Mode k stands at the angle theta + 2 pi k / n_modes.

    :param std: Standard deviation of each mode before truncation, from 0.001 to 10.
    :param radius: Distance of the modes from the centre, from 0 to 1.
    :param n_modes: How many, from 1 to 100.
    :param weights: Mass of each mode, of sum 1; equal ones if ``None``.
    """

    def __init__(
        self, std: float = 0.12, radius: float = 0.7, n_modes: int = 4, weights: npt.ArrayLike | None = None
    ) -> None:
        count = integer("n_modes", n_modes, 1, 100)
        masses = np.full(count, 1.0 / count) if weights is None else array("weights", weights, (count,))
        super().__init__(state_dim=2, action_dim=2, std=std, weights=masses)
        self.radius = number("radius", radius, 0.0, 1.0)

    def sample_states(self, n: int, rng: np.random.Generator) -> FloatArray:
        theta = rng.uniform(0.0, 2.0 * np.pi, n)
        return np.stack([np.cos(theta), np.sin(theta)], axis=-1)

    def modes(self, states: Array) -> FloatArray:
        cosine, sine = self.checked(states).T
        count = len(self._masses)
        angles = np.arctan2(sine, cosine)[:, None] + 2.0 * np.pi * np.arange(count) / count
        return self.radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


class TwoHumps(GaussianMixture):
    """Two modes on the diagonal of the Box, at -0.5 with the mass 0.7 and at 0.5 with the mass 0.3; one state, 0.

    :param dim: Length of the action, from 1 to 1000.
    :param std: Standard deviation of each mode before truncation, from 0.001 to 10.
    """

    def __init__(self, dim: int = 1, std: float = 0.15) -> None:
        super().__init__(state_dim=1, action_dim=integer("dim", dim, 1, MAX_DIM), std=std, weights=(0.7, 0.3))

    def sample_states(self, n: int, rng: np.random.Generator) -> FloatArray:
        return np.zeros((n, 1))

    def modes(self, states: Array) -> FloatArray:
        return np.tile([[[-0.5], [0.5]]], (len(self.checked(states)), 1, self.action_dim))
