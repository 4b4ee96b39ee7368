"""Rates: the slope of a mean in a logarithmic plot, with a bootstrap interval over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

from maxent_envs.validation import FloatArray

FLOOR_MULTIPLE = 5.0
MIN_CELLS = 3


@dataclass(frozen=True)
class Slope:
    """
    A slope with its 95% interval.

    :param value: least-squares slope of the logarithm of the mean over seeds
    :param low: lower end
    :param high: upper end
    :param n_cells: number of cells that it is fitted on
    """

    value: float
    low: float
    high: float
    n_cells: int


def log_mean_slope(x: Sequence[float], groups: Sequence[Sequence[float]], floor: float) -> Slope | None:
    """
    Slope of log(mean of a group) against x, by ordinary least squares.

    Only groups whose mean is at least 5 times the floor count: below, what limits the fit is the training and not what
    x stands for. The interval is the percentile bootstrap's, seeds resampled within each group.

    :param x: where the groups are
    :param groups: positive values of each group, one for each seed, at least 2
    :param floor: mean value that no x can go below
    :return: the slope; ``None`` if fewer than 3 groups are above the floor
    """
    kept = [(place, np.array(group)) for place, group in zip(x, groups, strict=True) if above_floor(group, floor)]
    if len(kept) < MIN_CELLS:
        return None
    places = np.array([place for place, _ in kept])
    centred = (places - places.mean()) / np.square(places - places.mean()).sum()

    def slope(*samples: npt.NDArray[Any], axis: int = -1) -> FloatArray:
        logs = np.stack([np.log(sample.mean(axis=axis)) for sample in samples])
        return np.asarray(np.tensordot(centred, logs, axes=1))

    values = [group for _, group in kept]
    found = bootstrap(values, slope, method="percentile", random_state=np.random.default_rng(0)).confidence_interval
    return Slope(float(slope(*values)), float(found.low), float(found.high), len(kept))


def above_floor(group: Sequence[float], floor: float) -> bool:
    """
    Whether a group counts for a slope.

    :param group: its values
    :param floor: mean value that no group can go below
    :return: whether its mean is at least 5 times the floor
    """
    return bool(np.mean(group) >= FLOOR_MULTIPLE * floor)
