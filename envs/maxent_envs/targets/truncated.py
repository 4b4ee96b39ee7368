"""Normal distributions with independent coordinates, truncated to [-1, 1]."""

import numpy as np
from scipy.special import ndtr, ndtri

from maxent_envs.validation import FloatArray

STD_RANGE = (1e-3, 10.0)  # as good as a point, as good as uniform; no over- or underflow in between


def log_normalizer(mean: FloatArray, std: float) -> FloatArray:
    """Logarithm of the integral of exp(-|a - mean|^2 / (2 std^2)) over the Box.

    :param mean: Centres inside the Box, shape (..., d).
    :param std: Standard deviation before truncation.
    :return: Shape (...).
    """
    inside = ndtr((1.0 - mean) / std) - ndtr((-1.0 - mean) / std)
    return np.asarray(np.log(np.sqrt(2.0 * np.pi) * std * inside).sum(-1))


def sample_truncated(mean: FloatArray, std: float, rng: np.random.Generator) -> FloatArray:
    """Draw by the inverse of the distribution function.

    :param mean: Centres inside the Box, any shape.
    :param std: Standard deviation before truncation.
    :param rng: Source of randomness.
    :return: One number in [-1, 1] for each centre.
    """
    low, high = ndtr((-1.0 - mean) / std), ndtr((1.0 - mean) / std)
    # Clipping undoes what rounding adds at the very bound
    draws: FloatArray = np.clip(mean + std * ndtri(low + rng.random(mean.shape) * (high - low)), -1.0, 1.0)
    return draws
