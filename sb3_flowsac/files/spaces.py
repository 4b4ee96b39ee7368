"""
Gymnasium spaces in JSON's terms, and back.

Gymnasium writes no spaces. Minari does, but no MultiDiscrete and no MultiBinary, infinite bounds as tokens that JSON
does not have, every bound of an image by itself, and with no limit on what a file may ask for.
"""

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_flowsac.checks import abridged, choice

MAX_SIZE = 2**26  # numbers in a Box: more than any image has, and refused before its bounds fill the memory
# Arguments of each kind of space, which are also its attributes
ARGUMENTS: dict[type[spaces.Space[Any]], tuple[str, ...]] = {
    spaces.Box: ("low", "high", "shape", "dtype"),
    spaces.Discrete: ("n", "start", "dtype"),
    spaces.MultiDiscrete: ("nvec", "start", "dtype"),
    spaces.MultiBinary: ("n",),
    spaces.Dict: ("spaces",),
}
KINDS = {kind.__name__: kind for kind in ARGUMENTS}


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """
    Describe a space in full.

    :param space: a Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of such
    :return: what JSON can hold; infinite bounds as "inf" and "-inf"
    :raises ValueError: if the space is of another kind
    """
    if type(space) not in ARGUMENTS:
        raise ValueError(f"the space must be one of {', '.join(KINDS)}; got {abridged(space)}")
    arguments = {name: getattr(space, name) for name in ARGUMENTS[type(space)]}
    for bound in {"low", "high"} & arguments.keys():  # one number if all are the same
        values = arguments[bound]
        arguments[bound] = values.flat[0] if values.size and (values == values.flat[0]).all() else values.tolist()
    return {"type": type(space).__name__, **{name: _plain(value) for name, value in arguments.items()}}


def space_from_json(description: dict[str, Any]) -> spaces.Space[Any]:
    """
    Make the space that :func:`space_to_json` has described.

    :param description: its description
    :return: an equal space
    :raises ValueError: if it is no such description
    """
    name = choice("type", description.get("type") if isinstance(description, dict) else description, KINDS)
    kind = KINDS[name]
    try:
        arguments = {name: description[name] for name in ARGUMENTS[kind]}
        if "dtype" in arguments:
            arguments["dtype"] = np.dtype(arguments["dtype"]).type
        if kind is spaces.Box:
            arguments.update(_bounds(**arguments))
        elif kind is spaces.Dict:
            arguments["spaces"] = [(str(key), space_from_json(inner)) for key, inner in arguments["spaces"]]
        return kind(**arguments)
    except (ArithmeticError, AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is described wrongly: {type(error).__name__}: {error}") from error


def _plain(value: Any) -> Any:
    """Arrays as lists; infinite numbers, of which JSON has none, as texts."""
    if isinstance(value, dict):
        return [[key, space_to_json(inner)] for key, inner in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return value if math.isfinite(value) else str(value)


def _bounds(low: Any, high: Any, shape: list[int], dtype: type[Any]) -> dict[str, Any]:
    if math.prod(shape) > MAX_SIZE:
        raise ValueError(f"shape {shape} has more than {MAX_SIZE} numbers")
    read_as = float if np.issubdtype(dtype, np.floating) else None  # numpy reads "inf" as it stands only as a float
    low, high = (np.full(shape, np.asarray(bound, read_as), dtype) for bound in (low, high))
    return {"low": low, "high": high, "shape": tuple(shape)}
