"""What a target distribution can be asked for, and truncated normal distributions, of which several are made."""

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device, to_device
from scipy.special import ndtr, ndtri

from maxent_envs.validation import FloatArray, integer

MAX_DIM = 1000  # more is a slip, refused before it fills the memory
STD_RANGE = (1e-3, 10.0)  # as good as a point, as good as uniform; no over- or underflow in between

Array: TypeAlias = Any
"""An array of a library that follows the Python array API standard: NumPy, PyTorch and others."""


class Target(ABC):
    """A distribution p(a|s) of actions in the Box [-1, 1]^d, given a state.

    For a target of your own, call ``super().__init__(state_dim, action_dim)`` and write the three abstract methods;
    where there are several modes, :attr:`mode_masses` and :meth:`mode_of` too. To serve the environment a density of
    NumPy arrays is enough. Written with :func:`like` and the functions of ``array_namespace(actions)``, as the built-in
    ones are, it takes tensors of PyTorch as well and passes on the gradient with respect to the actions.

    :param state_dim: Length of the state, from 1 to 1000.
    :param action_dim: Length d of the action, from 1 to 1000.
    :raises ValueError: If one of them is no such integer; so with all arguments of the built-in targets.
    """

    def __init__(self, state_dim: int, action_dim: int) -> None:
        self.state_dim = integer("state_dim", state_dim, 1, MAX_DIM)
        self.action_dim = integer("action_dim", action_dim, 1, MAX_DIM)

    @abstractmethod
    def sample_states(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw n states, shape (n, state_dim)."""

    @abstractmethod
    def log_density(self, states: Array, actions: Array) -> Array:
        """log p(a|s), normalised: the integral of p over the Box is 1.

        Outside the Box the formula goes on, without a meaning. States are constants: gradients flow to actions only.

        :param states: Shape (batch, state_dim); any array library, no gradient required.
        :param actions: Shape (batch, n, action_dim), of any floating type.
        :return: Shape (batch, n); library, type and device of the actions.
        """

    @abstractmethod
    def sample(self, states: Array, n: int, rng: np.random.Generator) -> FloatArray:
        """Draw n actions in each state, exactly from p(a|s).

        :param states: Shape (batch, state_dim).
        :param n: How many for each state.
        :param rng: Source of randomness.
        :return: Shape (batch, n, action_dim), in the Box.
        """

    @property
    def mode_masses(self) -> FloatArray:
        """Probability of each mode, shape (number of modes,)."""
        return np.ones(1)

    def mode_of(self, states: Array, actions: Array) -> npt.NDArray[np.intp]:
        """The mode to which each action belongs.

        :param states: Shape (batch, state_dim).
        :param actions: Shape (batch, n, action_dim), no gradient required.
        :return: Indices into :attr:`mode_masses`, shape (batch, n).
        """
        self.checked(states, actions)
        return np.zeros(actions.shape[:2], np.intp)

    def checked(self, states: Array, actions: Array | None = None) -> FloatArray:
        """Check states, and actions if there are any, and bring the states to NumPy in float64.

        :raises ValueError: If a shape is wrong or the actions are not floating-point numbers.
        """
        given = to_numpy(states)
        if given.ndim != 2 or given.shape[1] != self.state_dim:
            raise ValueError(f"states must have shape (batch, {self.state_dim}), got shape {given.shape}")
        if actions is not None:
            shape = tuple(actions.shape)
            if len(shape) != 3 or (shape[0], shape[2]) != (len(given), self.action_dim):
                raise ValueError(f"actions must have shape ({len(given)}, n, {self.action_dim}), got shape {shape}")
            if not array_namespace(actions).isdtype(actions.dtype, "real floating"):
                raise ValueError(f"actions must be floating-point numbers, got dtype {actions.dtype}")
        return given


def to_numpy(array: Array) -> FloatArray:
    """Bring an array of any library, without a gradient, to NumPy in float64."""
    return np.asarray(to_device(array, "cpu"), dtype=np.float64)


def like(actions: Array, value: FloatArray) -> Array:
    """Bring constants, an array of NumPy, to the library, type and device of the actions."""
    return array_namespace(actions).asarray(value, dtype=actions.dtype, device=device(actions))


def log_normalizer(mean: FloatArray, std: float) -> FloatArray:
    """Logarithm of the integral of exp(-|a - mean|^2 / (2 std^2)) over the Box, for means (..., d) inside: (...)."""
    inside = ndtr((1.0 - mean) / std) - ndtr((-1.0 - mean) / std)
    return np.asarray(np.log(np.sqrt(2.0 * np.pi) * std * inside).sum(-1))


def sample_truncated(mean: FloatArray, std: float, rng: np.random.Generator) -> FloatArray:
    """Draw from N(mean, std^2), truncated to [-1, 1], for each mean inside, by the inverse distribution function."""
    low, high = ndtr((-1.0 - mean) / std), ndtr((1.0 - mean) / std)
    draws = mean + std * ndtri(low + rng.random(mean.shape) * (high - low))
    return np.asarray(np.clip(draws, -1.0, 1.0))  # undoes what rounding adds at the very bound
