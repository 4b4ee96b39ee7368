"""Nested values in one ``.npz`` file: the arrays as its members, all else as JSON. Nothing in it is a pickle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sb3_flowsac.files.writing import replacing

FORMAT = {"format": "sb3-flowsac checkpoint", "version": 1}
TREE = "tree"


def write_archive(path: Path, content: dict[str, Any]) -> None:
    """
    Write nested values, whole or not at all.

    :param path: the file
    :param content: dictionaries, lists and tuples of numbers, strings, ``None``, arrays and tensors
    :raises TypeError: if something else is in it; names it
    :raises OSError: if the file cannot be written; names the file
    """
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps({**FORMAT, "content": _encode(content, "checkpoint", arrays)})
    with replacing(path) as file:
        np.savez(file, **{TREE: np.frombuffer(tree.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]


def read_archive(path: Path) -> dict[str, Any]:
    """
    Read what ``write_archive`` has written. Every byte is checked against the file's checksums.

    :param path: the file
    :return: the values; arrays as arrays and tensors as tensors on the CPU
    :raises ValueError: if it is no such file, or damaged; names the file
    :raises OSError: if it cannot be read
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            tree = json.loads(bytes(archive[TREE]))
            found = {key: tree.pop(key) for key in FORMAT}
            if found != FORMAT:
                raise ValueError(f"it says {found}, needed is {FORMAT}")
            content: dict[str, Any] = _decode(tree["content"], archive)
            return content
    except (FileNotFoundError, PermissionError):
        raise
    except (
        Exception
    ) as error:  # numpy, zipfile and json have many for a file that is cut short, altered or of another kind
        raise ValueError(f"{path} is damaged or no checkpoint of sb3-flowsac: {error}") from error


def _encode(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """The value in JSON's terms; arrays are put into ``arrays`` and referred to."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_encode(item, f"{name}[{i}]", arrays) for i, item in enumerate(value)]}
    if isinstance(value, dict):
        return {"dict": [[key, _encode(item, f"{name}[{key!r}]", arrays)] for key, item in value.items()]}
    if isinstance(value, torch.Tensor):
        value, kind = value.detach().cpu().numpy(), "tensor"
    else:
        kind = "array"
    if not isinstance(value, np.ndarray) or value.dtype.hasobject:
        raise TypeError(
            f"{name} is a {type(value).__name__}; numbers, strings, arrays and containers of them can be kept"
        )
    arrays[f"{len(arrays)}"] = value
    return {kind: f"{len(arrays) - 1}"}


def _decode(value: Any, arrays: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "array":
        return arrays[inner]
    if kind == "tensor":
        return torch.from_numpy(arrays[inner])
    if kind == "dict":
        return {key: _decode(item, arrays) for key, item in inner}
    items = [_decode(item, arrays) for item in inner]
    return tuple(items) if kind == "tuple" else items
