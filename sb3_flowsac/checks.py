"""Checks of single arguments: each returns the value as Python's type, or names the argument and what is allowed."""

import math
from collections.abc import Iterable

import numpy as np


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """
    Check an integer, Python's or numpy's; truth values and floats are refused.

    :param name: name of the argument
    :param value: what was given
    :param low: smallest value allowed
    :param high: largest value allowed, ``None`` for any
    :raises ValueError: if it is no integer or out of range
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        result = int(value)
        if low <= result and (high is None or result <= high):
            return result
    allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise ValueError(f"{name} must be an integer {allowed}, got {abridged(value)}")


def number(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """
    Check a finite real number in a closed interval.

    :param name: name of the argument
    :param value: what was given; an array of no dimension counts as its number
    :param low: smallest value allowed
    :param high: largest value allowed
    :raises ValueError: if it is no finite number or out of range
    """
    item = value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value
    if isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item) and low <= item <= high:
        return float(item)
    allowed = "" if math.isinf(low) and math.isinf(high) else f" in [{low:g}, {high:g}]"
    raise ValueError(f"{name} must be a finite number{allowed}, got {abridged(value)}")


def positive(name: str, value: object, high: float = math.inf) -> float:
    """
    Check a finite number above 0.

    :param name: name of the argument
    :param value: what was given
    :param high: largest value allowed
    :raises ValueError: if it is no finite number or out of range
    """
    result = number(name, value)
    if not 0.0 < result <= high:
        allowed = "" if math.isinf(high) else f" and at most {high:g}"
        raise ValueError(f"{name} must be positive{allowed}, got {result}")
    return result


def boolean(name: str, value: object) -> bool:
    """
    Check a truth value, Python's or numpy's; numbers are refused.

    :param name: name of the argument
    :param value: what was given
    :raises ValueError: if it is anything else
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {abridged(value)}")
    return bool(value)


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """
    Check a name out of a list.

    :param name: name of the argument
    :param value: what was given
    :param allowed: the names there are
    :raises ValueError: if it is none of them
    """
    names = sorted(allowed)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}; got {abridged(value)}")
    return value


def abridged(value: object) -> str:
    """What a message says of a value: its representation, in at most 200 characters."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
