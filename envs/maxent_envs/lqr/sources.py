"""Problems from files and from keyword arguments."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maxent_envs.lqr.problem import LQRProblem
from maxent_envs.validation import array, number

ENDINGS = (".yaml", ".yml", ".json", ".npz")
REQUIRED = ("A", "B", "Q", "R")


def _once_each(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping of its pairs. Readers of YAML and JSON keep the last of a key that is there twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{', '.join(str(key) for key in content if keys.count(key) > 1)} is given twice")
    return content


class _NumberLoader(yaml.SafeLoader):
    """YAML's safe loader that reads 1e-2 as a number, as YAML 1.2 does, and not as text, and refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _once_each([(self.construct_object(key), None) for key, _ in node.value])
        return super().construct_mapping(node, deep)


_NumberLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def load_problem(path: str | Path) -> LQRProblem:
    """Read a problem from a YAML, JSON or NPZ file.

    Keys are the arguments of :class:`LQRProblem`; ``W`` is accepted for ``noise_cov``. With ``dt``, ``A`` and ``B`` are
    those of dx/dt = Ax + Bu, sampled with that time step, the input held constant in between (zero-order hold).

    :param path: File that ends in .yaml, .yml, .json or .npz.
    :return: The problem.
    :raises FileNotFoundError: If there is no such file.
    :raises ValueError: If the ending is another, the file cannot be read, a key is unknown or missing, or the numbers
        are no valid problem.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"path must end in one of {', '.join(ENDINGS)}; got {path.name!r}")
    if not path.is_file():
        raise FileNotFoundError(f"path must be an existing file, got {str(path)!r}")
    content = _read(path)
    if not isinstance(content, Mapping):
        raise ValueError(f"{path.name} must hold a mapping of keys to matrices, got {type(content).__name__}")
    if "W" in content and "noise_cov" in content:
        raise ValueError(f"{path.name} has both W and noise_cov, which are two names of one covariance; give one")
    given = {"noise_cov" if key == "W" else str(key): value for key, value in content.items()}
    dt = given.pop("dt", None)
    if dt is not None and {"A", "B"} <= given.keys():
        from scipy.signal import cont2discrete  # slow to import, and few problems need it

        A = array("A", given["A"], (None, None))
        continuous = (A, array("B", given["B"], (len(A), None)), np.eye(len(A)), 0.0)
        step = number("dt", dt, 0.0, between=True)
        with np.errstate(all="ignore"):
            given["A"], given["B"] = cont2discrete(continuous, step)[:2]
        if not (np.isfinite(given["A"]).all() and np.isfinite(given["B"]).all()):
            raise ValueError(f"{path.name}: dt={step} must leave exp(A dt) finite; with dt, A is in continuous time")
    return problem_of(given, path.name, "; W stands for noise_cov, and dt makes A and B those of continuous time")


def problem_of(given: Mapping[str, Any], source: str, more: str = "") -> LQRProblem:
    """The problem of named arguments; messages say that they come from ``source``, and what ``more`` it may hold.

    :raises ValueError: If a name is unknown or missing, or the problem is invalid.
    """
    allowed = LQRProblem.argument_names()
    unknown = [key for key in given if key not in allowed]
    if unknown:
        raise ValueError(f"{source} does not know {', '.join(unknown)}; allowed are {', '.join(allowed)}{more}")
    missing = [key for key in REQUIRED if key not in given]
    if missing:
        raise ValueError(f"{source} lacks {', '.join(missing)}; {', '.join(REQUIRED)} are required together")
    return LQRProblem(**given)


def _read(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return dict(archive)
        text = path.read_text(encoding="utf-8")
        return (
            json.loads(text, object_pairs_hook=_once_each)
            if path.suffix.lower() == ".json"
            else yaml.load(text, Loader=_NumberLoader)
        )
    except Exception as error:  # numpy lets errors of zipfile, zlib and struct through
        raise ValueError(f"{path.name} must be valid YAML, JSON or NPZ of plain arrays, as it ends: {error}") from error
