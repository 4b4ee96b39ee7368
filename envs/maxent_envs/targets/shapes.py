"""Targets that no mixture of a few Gaussians describes: a ring, a banana, a maximum on the bound of the Box."""

import numpy as np
from array_api_compat import array_namespace
from scipy.special import ndtr

from maxent_envs.targets.base import MAX_DIM, STD_RANGE, Array, Target, like, log_normalizer, sample_truncated
from maxent_envs.validation import FloatArray, integer, number

ANGLES = 2.0 * np.pi * (np.arange(1024) + 0.5) / 1024


class Ring(Target):
    """p(a|s) ~ exp(-(|a - c| - radius)^2 / (2 width^2)) around the centre c(s) = shift tanh(s), s ~ N(0, I_2).

    The integral over the Box is closed along each ray from the centre, and taken by quadrature over the rays.

    :param radius: Radius of the ring, from 0 to 1.
    :param width: Standard deviation across the ring, from 0.01 to 0.3.
    :param shift: Largest shift of the centre in each coordinate, from 0 to 0.5.
    """

    def __init__(self, radius: float = 0.6, width: float = 0.08, shift: float = 0.1) -> None:
        super().__init__(state_dim=2, action_dim=2)
        self.radius = number("radius", radius, 0.0, 1.0)
        self.width = number("width", width, 0.01, 0.3)
        self.shift = number("shift", shift, 0.0, 0.5)

    def sample_states(self, n: int, rng: np.random.Generator) -> FloatArray:
        return rng.standard_normal((n, 2))

    def log_density(self, states: Array, actions: Array) -> Array:
        centres = self._centres(self.checked(states, actions))
        xp = array_namespace(actions)
        # The tiny constant keeps the gradient finite at the centre
        distances = xp.sqrt(xp.sum((actions - like(actions, centres[:, None])) ** 2, axis=-1) + 1e-12)
        constants = like(actions, np.log(self._integral(centres))[:, None])
        return -0.5 * ((distances - self.radius) / self.width) ** 2 - constants

    def sample(self, states: Array, n: int, rng: np.random.Generator) -> FloatArray:
        """By rejection, see :meth:`Target.sample`."""
        centres = self._centres(self.checked(states))
        actions = np.empty((len(centres), n, 2))
        missing = np.ones((len(centres), n), bool)
        largest = np.sqrt(2.0) * (1.0 + self.shift)  # distance in the Box
        while missing.any():
            count = np.count_nonzero(missing)
            distance = self.radius + self.width * rng.standard_normal(count)
            angle = rng.uniform(0.0, 2.0 * np.pi, count)
            drawn = np.repeat(centres, missing.sum(1), axis=0) + distance[:, None] * _directions(angle)
            accepted = (rng.uniform(0.0, largest, count) < distance) & (np.abs(drawn) <= 1.0).all(-1)
            actions[missing] = drawn  # those not accepted are drawn again
            missing[missing] = ~accepted
        return actions

    def _centres(self, states: FloatArray) -> FloatArray:
        return np.asarray(self.shift * np.tanh(states))

    def _integral(self, centres: FloatArray) -> FloatArray:
        """Integral of exp(-(r - radius)^2 / (2 width^2)) over the Box, shape (batch,)."""
        directions = _directions(ANGLES)
        reach = ((1.0 - np.sign(directions) * centres[:, None]) / np.abs(directions)).min(-1)
        z, z0 = (reach - self.radius) / self.width, -self.radius / self.width
        along_ray = self.width**2 * (np.exp(-0.5 * z0**2) - np.exp(-0.5 * z**2))
        along_ray += self.radius * self.width * np.sqrt(2.0 * np.pi) * (ndtr(z) - ndtr(z0))
        return np.asarray(2.0 * np.pi * along_ray.mean(-1))


class Banana(Target):
    """A Gaussian bent to a parabola: a_1 ~ N(0, length^2), a_2 ~ N(bend s (a_1^2 - 1/2), width^2), s uniform
    in [-1, 1].

    The first coordinate is truncated to [-1, 1]. The second is at least five ``width`` from the bound, so that the mass
    left out there is below 1e-6 and needs no normalisation.

    :param bend: Curvature of the parabola at the states 1 and -1, from 0 to 1.
    :param width: Standard deviation across the parabola, from 0.001 to 0.1.
    :param length: Standard deviation along it before truncation, from 0.001 to 10.
    """

    def __init__(self, bend: float = 1.0, width: float = 0.08, length: float = 0.4) -> None:
        super().__init__(state_dim=1, action_dim=2)
        self.bend = number("bend", bend, 0.0, 1.0)
        self.width = number("width", width, STD_RANGE[0], 0.1)
        self.length = number("length", length, *STD_RANGE)

    def sample_states(self, n: int, rng: np.random.Generator) -> FloatArray:
        return rng.uniform(-1.0, 1.0, (n, 1))

    def log_density(self, states: Array, actions: Array) -> Array:
        curvature = like(actions, self.bend * self.checked(states, actions))
        along, across = actions[..., 0], actions[..., 1] - curvature * (actions[..., 0] ** 2 - 0.5)
        constant = float(log_normalizer(np.zeros(1), self.length)) + np.log(np.sqrt(2.0 * np.pi) * self.width)
        return -0.5 * ((along / self.length) ** 2 + (across / self.width) ** 2) - float(constant)

    def sample(self, states: Array, n: int, rng: np.random.Generator) -> FloatArray:
        curvature = self.bend * self.checked(states)
        first = sample_truncated(np.zeros((len(curvature), n)), self.length, rng)
        second = sample_truncated(curvature * (first**2 - 0.5), self.width, rng)
        return np.stack([first, second], axis=-1)


class BoundMaximum(Target):
    """Densest in a corner of the Box: p(a|s) ~ exp(r(s) . a) with r(s) = rate tanh(2 s), s ~ N(0, I).

    The state's signs choose the corner, and the change from one to another is smooth.

    :param dim: Length of the action, from 1 to 1000.
    :param rate: Largest rate of each exponential, from 0.001 to 1000: its mean is 1 / rate away from the bound.
    """

    def __init__(self, dim: int = 2, rate: float = 20.0) -> None:
        super().__init__(state_dim=integer("dim", dim, 1, MAX_DIM), action_dim=dim)
        self.rate = number("rate", rate, 1e-3, 1e3)

    def sample_states(self, n: int, rng: np.random.Generator) -> FloatArray:
        return rng.standard_normal((n, self.state_dim))

    def log_density(self, states: Array, actions: Array) -> Array:
        rates = self._rates(self.checked(states, actions))
        size = np.abs(rates)
        # The integral over one coordinate is 2 sinh(r) / r
        constants = (size + np.log(-np.expm1(-2.0 * size) / size)).sum(-1)
        xp = array_namespace(actions)
        return xp.sum(like(actions, rates[:, None]) * actions, axis=-1) - like(actions, constants[:, None])

    def sample(self, states: Array, n: int, rng: np.random.Generator) -> FloatArray:
        rates = self._rates(self.checked(states))[:, None]
        size = np.abs(rates)
        uniform = rng.random((len(rates), n, self.action_dim))
        from_bound = -np.log1p(uniform * np.expm1(-2.0 * size)) / size
        return np.asarray(np.sign(rates) * np.clip(1.0 - from_bound, -1.0, 1.0))

    def _rates(self, states: FloatArray) -> FloatArray:
        rates = self.rate * np.tanh(2.0 * states)
        return np.copysign(np.maximum(np.abs(rates), 1e-9), rates)  # a rate of 0 is the limit: uniform


def _directions(angles: FloatArray) -> FloatArray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)
