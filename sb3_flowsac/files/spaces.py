"""Gymnasium spaces in JSON's terms, and back."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

Json = dict[str, Any]
MAX_SIZE = 2**26  # numbers in a Box: more than any image has, and refused before its bounds fill the memory


def space_to_json(space: spaces.Space[Any]) -> Json:
    """
    Describe a space in full.

    :param space: a Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of such
    :return: what JSON can hold; infinite bounds as "inf" and "-inf"
    :raises ValueError: if the space is of another kind
    """
    write, _ = KINDS.get(type(space), (None, None))
    if write is None:
        allowed = ", ".join(kind.__name__ for kind in KINDS)
        raise ValueError(f"the space {space} is a {type(space).__name__}; those that can be written are {allowed}")
    return {"type": type(space).__name__, **write(space)}


def space_from_json(description: Json) -> spaces.Space[Any]:
    """
    Make the space that ``space_to_json`` has described.

    :param description: its description
    :return: an equal space
    :raises ValueError: if it is no such description
    """
    for kind, (_, read) in KINDS.items():
        if isinstance(description, dict) and description.get("type") == kind.__name__:
            try:
                return read({key: value for key, value in description.items() if key != "type"})
            except (ArithmeticError, AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{kind.__name__} is described wrongly: {type(error).__name__}: {error}") from error
    raise ValueError(
        f"a description needs a type among {[kind.__name__ for kind in KINDS]}, got {str(description)[:200]}"
    )


def _write_box(box: spaces.Box) -> Json:
    return {"shape": list(box.shape), "dtype": box.dtype.name, "low": _bound(box.low), "high": _bound(box.high)}


def _read_box(given: Json) -> spaces.Box:
    shape, dtype = tuple(given["shape"]), np.dtype(given["dtype"])
    if math.prod(shape) > MAX_SIZE:
        raise ValueError(f"shape {shape} has more than {MAX_SIZE} numbers")
    low, high = (np.broadcast_to(_numbers(given[name], dtype), shape) for name in ("low", "high"))
    return spaces.Box(low.copy(), high.copy(), shape, dtype.type)


def _bound(bound: np.ndarray) -> Any:
    """One number if all are the same, else all of them; as text where JSON has no number."""
    if bound.size and (bound == bound.flat[0]).all():
        bound = bound.flat[0]

    def written(value: Any) -> Any:
        if isinstance(value, list):
            return [written(item) for item in value]
        return value if math.isfinite(value) else str(value)

    return written(bound.tolist())


def _numbers(value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """Numbers as ``_bound`` writes them; numpy reads "inf" as it stands if the type is a float."""
    return np.asarray(np.asarray(value, dtype=float) if dtype.kind == "f" else value).astype(dtype)


def _write_dict(space: spaces.Dict) -> Json:
    return {"spaces": [[key, space_to_json(inner)] for key, inner in space.spaces.items()]}


def _read_dict(given: Json) -> spaces.Dict:
    return spaces.Dict([(str(key), space_from_json(inner)) for key, inner in given["spaces"]])


KINDS: dict[type[Any], tuple[Callable[[Any], Json], Callable[[Json], spaces.Space[Any]]]] = {
    spaces.Box: (_write_box, _read_box),
    spaces.Discrete: (
        lambda space: {"n": int(space.n), "start": int(space.start), "dtype": space.dtype.name},
        lambda given: spaces.Discrete(given["n"], start=given["start"], dtype=np.dtype(given["dtype"]).type),
    ),
    spaces.MultiDiscrete: (
        lambda space: {"nvec": space.nvec.tolist(), "start": space.start.tolist(), "dtype": space.dtype.name},
        lambda given: spaces.MultiDiscrete(given["nvec"], np.dtype(given["dtype"]).type, start=given["start"]),
    ),
    spaces.MultiBinary: (
        lambda space: {"n": space.n if isinstance(space.n, int) else list(space.n)},
        lambda given: spaces.MultiBinary(given["n"]),
    ),
    spaces.Dict: (_write_dict, _read_dict),
}
