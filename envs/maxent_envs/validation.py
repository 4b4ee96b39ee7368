"""Checks of user input that every environment of the package shares.

Each check returns the value in the form the library works with and raises ``ValueError`` otherwise; the message names
the argument, what it got and what is allowed.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def real_array(name: str, value: object) -> FloatArray:
    """Convert an array-like of finite real numbers to a new float64 array.

    :param name: Name of the argument, for the message.
    :param value: Numbers, nested lists or an array of any shape with at least one element.
    :return: A float64 copy, C-contiguous.
    :raises ValueError: If the value is ragged, empty, not numeric, complex, boolean, NaN or infinite.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers, got {abridged(value)}") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must contain real numbers only, got {abridged(value)} (dtype {array.dtype})")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    with np.errstate(over="ignore"):
        result = np.array(array, dtype=np.float64, order="C")
    if not np.isfinite(result).all():
        raise ValueError(f"{name} must be finite, got {abridged(value)}")
    return result


def matrix(name: str, value: object, shape: tuple[int | None, int | None], to_fit: str = "") -> FloatArray:
    """Check a real matrix.

    :param name: Name of the argument.
    :param value: Array-like.
    :param shape: Allowed numbers of rows and columns; ``None`` allows any number.
    :param to_fit: The other argument that the shape follows from, for the message.
    :return: The matrix in float64.
    :raises ValueError: If it is not a finite real matrix of that shape.
    """
    result = real_array(name, value)
    fits = result.ndim == 2 and all(want in (None, got) for want, got in zip(shape, result.shape, strict=True))
    if not fits:
        allowed = " x ".join("any" if size is None else str(size) for size in shape)
        reason = f" to fit {to_fit}" if to_fit else ""
        raise ValueError(f"{name} must be a matrix of shape {allowed}{reason}, got shape {result.shape}")
    return result


def symmetric(name: str, value: object, size: int, to_fit: str = "") -> FloatArray:
    """Check a symmetric matrix, up to a relative rounding error of 1e-8.

    :param name: Name of the argument.
    :param value: Array-like of shape (size, size).
    :param size: Allowed number of rows and columns.
    :param to_fit: See ``matrix``.
    :return: The exactly symmetric part of the matrix, float64.
    :raises ValueError: If the shape is wrong or the matrix is not symmetric.
    """
    result = matrix(name, value, (size, size), to_fit)
    if np.abs(result - result.T).max() > 1e-8 * np.abs(result).max():
        raise ValueError(f"{name} must be symmetric, got {result.tolist()}")
    return np.asarray(0.5 * result + 0.5 * result.T)


def positive_definite(name: str, value: object, size: int, to_fit: str = "") -> FloatArray:
    """Check a symmetric matrix with positive eigenvalues only.

    :param name: Name of the argument.
    :param value: Array-like of shape (size, size).
    :param size: Allowed number of rows and columns.
    :param to_fit: See ``matrix``.
    :return: The matrix in float64.
    :raises ValueError: If it is not symmetric, or numerically singular or indefinite.
    """
    result = symmetric(name, value, size, to_fit)
    eigenvalues = np.linalg.eigvalsh(result)
    if eigenvalues[0] <= 1e-14 * np.abs(eigenvalues).max():
        raise ValueError(
            f"{name} must be positive definite, got {result.tolist()} with smallest eigenvalue {eigenvalues[0]:.3g}"
        )
    return result


def covariance(name: str, value: object, size: int) -> FloatArray:
    """Check a covariance matrix: symmetric and positive semidefinite, zero included.

    :param name: Name of the argument.
    :param value: Array-like of shape (size, size).
    :param size: Allowed number of rows and columns.
    :return: The matrix in float64.
    :raises ValueError: If it is not symmetric or has a negative eigenvalue.
    """
    result = symmetric(name, value, size)
    eigenvalues = np.linalg.eigvalsh(result)
    if eigenvalues[0] < -1e-12 * np.abs(eigenvalues).max():
        raise ValueError(
            f"{name} must be a covariance (positive semidefinite), got {result.tolist()} "
            f"with smallest eigenvalue {eigenvalues[0]:.3g}"
        )
    return result


def vectors(name: str, value: object, size: int) -> FloatArray:
    """Check one vector or a batch of vectors.

    :param name: Name of the argument.
    :param value: Array-like of shape (..., size).
    :param size: Allowed length of the last axis.
    :return: The vectors in float64.
    :raises ValueError: If they are not finite real numbers with that last axis.
    """
    result = real_array(name, value)
    if result.ndim == 0 or result.shape[-1] != size:
        raise ValueError(f"{name} must have shape (..., {size}), got shape {result.shape}")
    return result


def shaped(name: str, value: object, shape: tuple[int, ...]) -> FloatArray:
    """Check an array of one exact shape.

    :param name: Name of the argument.
    :param value: Array-like.
    :param shape: The shape required.
    :return: The array in float64.
    :raises ValueError: If the shape is another or a number is not finite.
    """
    result = real_array(name, value)
    if result.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got shape {result.shape}")
    return result


def finite_float(name: str, value: object) -> float:
    """Check a finite real number.

    :param name: Name of the argument.
    :param value: A number or a zero-dimensional array.
    :return: The number as float.
    :raises ValueError: If it is anything else.
    """
    result = real_array(name, value)
    if result.ndim != 0:
        raise ValueError(f"{name} must be one number, got an array of shape {result.shape}")
    return float(result)


def positive_float(name: str, value: object) -> float:
    """Check a positive finite number.

    :param name: Name of the argument.
    :param value: A number.
    :return: The number as float.
    :raises ValueError: If it is not a finite number above 0.
    """
    result = finite_float(name, value)
    if result <= 0.0:
        raise ValueError(f"{name} must be positive, got {result}")
    return result


def interval(name: str, value: object, low: float, high: float) -> float:
    """Check a number of a closed interval.

    :param name: Name of the argument.
    :param value: A number.
    :param low: Smallest value allowed.
    :param high: Largest value allowed.
    :return: The number as float.
    :raises ValueError: If it is no number or out of range.
    """
    result = finite_float(name, value)
    if not low <= result <= high:
        raise ValueError(f"{name} must lie in [{low}, {high}], got {result}")
    return result


def discount(name: str, value: object) -> float:
    """Check a discount factor.

    :param name: Name of the argument.
    :param value: A number.
    :return: The number as float.
    :raises ValueError: If it does not lie strictly between 0 and 1.
    """
    result = finite_float(name, value)
    if not 0.0 < result < 1.0:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {result}")
    return result


def integer(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """Check an integer.

    :param name: Name of the argument.
    :param value: A Python or numpy integer; booleans and floats are refused.
    :param minimum: Smallest value allowed.
    :param maximum: Largest value allowed; ``None`` for any.
    :return: The number as int.
    :raises ValueError: If it is no integer or out of range.
    """
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < minimum or (maximum is not None and value > maximum):  # type: ignore[operator]
        allowed = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise ValueError(f"{name} must be an integer {allowed}, got {abridged(value)}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def boolean(name: str, value: object) -> bool:
    """Check a truth value.

    :param name: Name of the argument.
    :param value: A Python or numpy boolean; numbers are refused.
    :return: The value as bool.
    :raises ValueError: If it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {abridged(value)}")
    return bool(value)


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Check a name out of a list.

    :param name: Name of the argument.
    :param value: The name given.
    :param allowed: The names there are.
    :return: The name.
    :raises ValueError: If it is none of them.
    """
    names = sorted(allowed)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}; got {abridged(value)}")
    return value


def read_only(array: FloatArray) -> FloatArray:
    """Forbid writing to an array.

    :param array: The array, changed in place.
    :return: The same array.
    """
    array.setflags(write=False)
    return array


def abridged(value: object) -> str:
    """Print a value for a message, in at most 200 characters.

    :param value: Anything.
    :return: Its representation, cut.
    """
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
