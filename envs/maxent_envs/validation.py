"""Checks of what users give, each with a message that names the argument, what was given and what is allowed."""

import math
from collections.abc import Iterable
from types import EllipsisType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]


def array(
    name: str, value: object, shape: tuple[int | EllipsisType | None, ...] | None = None, to_fit: str = ""
) -> FloatArray:
    """Convert a number, nested lists or an array to a new float64 array, C-contiguous and read-only.

    :param shape: Length of each axis, ``None`` for any; after ``...`` in front those of the last axes. ``None`` for
        any shape.
    :param to_fit: What the shape follows from, for the message.
    :raises ValueError: If it is ragged, empty, not of finite real numbers, or of another shape.
    """
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers, got {abridged(value)}") from error
    if given.dtype.kind not in "fiu":
        raise ValueError(f"{name} must contain real numbers only, got {abridged(value)} (dtype {given.dtype})")
    if given.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {given.shape}")
    with np.errstate(over="ignore"):
        result = np.array(given, dtype=np.float64, order="C")
    if not np.isfinite(result).all():
        raise ValueError(f"{name} must be finite, got {abridged(value)}")
    if shape is not None:
        wanted = shape[1:] if shape[:1] == (...,) else shape
        lengths = result.shape if wanted is shape else result.shape[-len(wanted) :]
        if len(lengths) != len(wanted) or any(w not in (None, n) for w, n in zip(wanted, lengths, strict=True)):
            symbols = ["..." if size is ... else "any" if size is None else str(size) for size in shape]
            allowed = f"({', '.join(symbols)}{',' * (len(shape) == 1)}){to_fit and ' to fit ' + to_fit}"
            raise ValueError(f"{name} must have shape {allowed}, got shape {result.shape}")
    return read_only(result)


def semidefinite(name: str, value: object, size: int, *, strictly: bool = False, to_fit: str = "") -> FloatArray:
    """Check a symmetric matrix (up to a relative error of 1e-8) whose eigenvalues are not negative, nor zero if
    ``strictly``, once its diagonal is scaled to one: their signs then do not depend on units.

    :return: The exactly symmetric part, shape (size, size), float64 and read-only.
    :raises ValueError: If the shape is wrong, or the matrix is not symmetric or not definite as required.
    """
    given = array(name, value, (size, size), to_fit)
    if np.abs(given - given.T).max() > 1e-8 * np.abs(given).max():
        raise ValueError(f"{name} must be symmetric, got {given.tolist()}")
    result = 0.5 * given + 0.5 * given.T
    scale = np.sqrt(np.abs(np.diag(result)))
    zero = scale == 0.0
    scale[zero] = 1.0
    smallest = -np.inf if result[zero].any() else np.linalg.eigvalsh(result / scale / scale[:, None])[0]
    if smallest < -1e-12 or (strictly and smallest <= 1e-14):
        kind = "positive definite" if strictly else "positive semidefinite"
        eigenvalue = f"smallest eigenvalue with a diagonal of ones {smallest:.3g}"
        raise ValueError(f"{name} must be {kind}, got {result.tolist()}, {eigenvalue}")
    return read_only(result)


def number(name: str, value: object, low: float = -np.inf, high: float = np.inf, *, between: bool = False) -> float:
    """Check a finite real number in [low, high], or strictly ``between`` them; an array of no dimension counts as one.

    :raises ValueError: If it is no such number; truth values are none.
    """
    item = value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value
    if isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item):
        if low < item < high if between else low <= item <= high:
            return float(item)
    rule = f"lie strictly between {low:g} and {high:g}" if between else f"lie in [{low:g}, {high:g}]"
    if math.isinf(high):
        from_low = "be positive and finite" if between else f"be a number from {low:g} on"
        rule = "be a finite number" if math.isinf(low) else from_low
    raise ValueError(f"{name} must {rule}, got {abridged(item)}")


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Check an integer from ``low`` to ``high`` (``None`` for any), Python's or numpy's.

    :raises ValueError: If it is out of range or no integer, as truth values and floats are.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if low <= value and (high is None or value <= high):
            return int(value)
    allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise ValueError(f"{name} must be an integer {allowed}, got {abridged(value)}")


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Check a name out of a list; the ``ValueError`` shows the list."""
    names = sorted(allowed)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}; got {abridged(value)}")
    return value


def read_only(values: FloatArray) -> FloatArray:
    """Forbid writing to an array, in place, and return it."""
    values.setflags(write=False)
    return values


def abridged(value: object) -> str:
    """What a message says of a value: its representation, in at most 200 characters."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
