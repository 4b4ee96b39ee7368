"""Where a problem comes from: a file, or the keyword arguments of an environment."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maxent_envs.lqr.presets import preset
from maxent_envs.lqr.problem import LQRProblem

REQUIRED = ("A", "B", "Q", "R")


class _NumberLoader(yaml.SafeLoader):
    """YAML's safe loader that reads 1e-2 as a number, as YAML 1.2 does, and not as text."""


_NumberLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load_problem(path: str | Path) -> LQRProblem:
    """Read a problem from a YAML, JSON or NPZ file.

    Keys are the arguments of :class:`LQRProblem`; ``W`` is accepted for ``noise_cov``.

    :param path: File that ends in .yaml, .yml, .json or .npz.
    :return: The problem.
    :raises FileNotFoundError: If there is no such file.
    :raises ValueError: If the ending is another, the file cannot be read, a key is unknown or missing, or the numbers
        are no valid problem.
    """
    path = Path(path)
    readers = {".yaml": _read_yaml, ".yml": _read_yaml, ".json": _read_json, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise ValueError(f"path must end in one of {', '.join(readers)}; got {path.name!r}")
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file, got {str(path)!r}")
    content = readers[path.suffix.lower()](path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path.name} must hold a mapping of keys to matrices, got {type(content).__name__}")
    return _from_mapping(content, path.name)


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_NumberLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} must be valid YAML: {error}") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} must be valid JSON: {error}") from error


def _read_npz(path: Path) -> Any:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except Exception as error:  # numpy lets errors of zipfile, zlib and struct through
        raise ValueError(f"{path.name} must be a NumPy archive of plain arrays: {error}") from error


def _from_mapping(content: Mapping[Any, Any], source: str) -> LQRProblem:
    allowed = LQRProblem.argument_names()
    unknown = [str(key) for key in content if key not in (*allowed, "W")]
    if unknown:
        raise ValueError(f"{source} has unknown keys {', '.join(unknown)}; allowed are {', '.join(allowed)} and W")
    missing = [key for key in REQUIRED if key not in content]
    if missing:
        raise ValueError(f"{source} lacks the keys {', '.join(missing)}; {', '.join(REQUIRED)} are required")
    if "W" in content and "noise_cov" in content:
        raise ValueError(f"{source} has both W and noise_cov, which are two names of one covariance; give one")
    return LQRProblem(**{"noise_cov" if key == "W" else key: value for key, value in content.items()})


def problem_from_arguments(name: str | None, **matrices: object) -> LQRProblem:
    """The problem that an environment's keyword arguments mean.

    :param name: Name of a preset, or ``None``.
    :param matrices: Arguments of :class:`LQRProblem`; ``None`` stands for not given.
    :return: The preset, or the problem of the matrices, or the default preset if nothing is given.
    :raises ValueError: If a preset is mixed with matrices, some of A, B, Q, R are missing, or the problem is invalid.
    """
    given = {key: value for key, value in matrices.items() if value is not None}
    if name is not None and given:
        raise ValueError(f"preset={name!r} must not be mixed with {', '.join(given)}: give a preset or matrices")
    if not given:
        return preset("default" if name is None else name)
    missing = [key for key in REQUIRED if key not in given]
    if missing:
        raise ValueError(f"A, B, Q, R must be given all or none; got {', '.join(given)} without {', '.join(missing)}")
    return LQRProblem(**given)
