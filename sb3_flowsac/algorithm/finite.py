"""Numbers that are not finite, values and densities that diverge: stopped where they appear, with their name and the
step."""

from typing import Any

import numpy as np
from torch import nn


class DivergenceError(FloatingPointError, ValueError):
    """A number of training is not finite, or beyond all bounds. As a ``ValueError`` it ends a trial of the RL Zoo's
    search, not the search."""


REMEDY = "networks of this model are no longer of use, go on from a checkpoint saved before"


def first_not_finite(name: str, values: Any) -> str | None:
    """
    What a message says of the first number that is not finite in single precision; ``None`` if all are.

    :param name: what the numbers are
    :param values: an array or tensor (the first axis of a batch is the environment) or a dictionary of them
    """
    if isinstance(values, dict):
        return next(filter(None, (first_not_finite(f"{name}[{key!r}]", part) for key, part in values.items())), None)
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return None
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.float32, copy=False))  # as networks take them
    if finite.all():
        return None
    place = tuple(np.argwhere(~finite)[0].tolist())
    return f"{name}[{', '.join(map(str, place))}] is {array[place]}"


def check_finite(name: str, values: Any, timestep: int) -> None:
    """
    Refuse numbers of a training run that are not finite, see ``first_not_finite``.

    :param timestep: number of environment steps so far
    :raises DivergenceError: with name, index and value of the first such number, and the step
    """
    found = first_not_finite(name, values)
    if found is not None:
        raise DivergenceError(f"{found} at environment step {timestep}; it must be finite in single precision")


def spoilt_parameters(policy: nn.Module) -> str:
    """Which parameters are not finite, as part of a message; empty if all are."""
    names = [name for name, parameter in policy.named_parameters() if not parameter.isfinite().all()]
    return f"not finite among the parameters: {', '.join(names[:3])}{', ...' * (len(names) > 3)}; " if names else ""
