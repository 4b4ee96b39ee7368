"""Target distributions p(a|s) over the Box [-1, 1]^d, each with its normalised log-density in closed form or by
quadrature."""

from collections.abc import Callable
from functools import partial

from maxent_envs.targets.base import Target, like
from maxent_envs.targets.mixtures import CorrelatedGaussian, GaussianMixture, RotatingMixture, SharpGaussian, TwoHumps
from maxent_envs.targets.shapes import Banana, BoundMaximum, Ring
from maxent_envs.validation import choice

__all__ = [
    "TARGETS",
    "Banana",
    "BoundMaximum",
    "CorrelatedGaussian",
    "GaussianMixture",
    "Ring",
    "RotatingMixture",
    "SharpGaussian",
    "Target",
    "TwoHumps",
    "get_target",
    "like",
]

TARGETS: dict[str, Callable[[], Target]] = {
    "banana": Banana,
    "bound_maximum": BoundMaximum,
    "correlated_gaussian": CorrelatedGaussian,
    "ring": Ring,
    "rotating_mixture": RotatingMixture,
    "sharp_gaussian": SharpGaussian,
    "two_humps": TwoHumps,
    "unequal_modes": partial(RotatingMixture, n_modes=2, weights=(0.9, 0.1)),
}


def get_target(target: str | Target) -> Target:
    """A target by name, with default arguments.

    :param target: A key of ``TARGETS``, or a :class:`Target`, which is returned as it is.
    :return: The target.
    :raises ValueError: If it is neither.
    """
    if isinstance(target, Target):
        return target
    return TARGETS[choice("target (where it is no Target)", target, TARGETS)]()
