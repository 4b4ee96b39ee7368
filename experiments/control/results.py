"""Finished cells as their folders hold them, none of other settings or versions among them."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.control.cells import LAST

BUDGET = ("steps", "eval_freq", "eval_episodes")


class MixedResultsError(ValueError):
    """Results that cannot stand beside each other."""


@dataclass(frozen=True)
class Finished:
    """
    A finished cell.

    :param path: its ``result.json``
    :param content: what the file holds
    :param curve: a row for each evaluation: steps, wall_seconds, processor_seconds, and ``returns``, the mean of its
        episodes
    """

    path: Path
    content: dict[str, Any]
    curve: pd.DataFrame

    @property
    def settings(self) -> dict[str, Any]:
        """Algorithm, environment, seed and budget."""
        settings: dict[str, Any] = self.content["settings"]
        return settings

    @property
    def final_return(self) -> float:
        """Mean of the last evaluations."""
        return float(self.curve["returns"].iloc[-LAST:].mean())


Cells = dict[tuple[str, str], list[Finished]]
"""Finished cells by environment and algorithm, in the order of their seeds."""


def load(folder: Path) -> Cells:
    """
    All finished cells of a folder.

    :param folder: what ``python -m experiments.control`` has written to
    :raises FileNotFoundError: if it holds no finished cell
    :raises MixedResultsError: if cells have different budgets, or those of one algorithm different settings, versions
        or defaults
    """
    found = [read(path) for path in sorted(folder.glob("*/*/*/result.json"))]
    if not found:
        raise FileNotFoundError(f"{folder} holds no finished cell ENVIRONMENT/ALGORITHM/SEED/result.json")
    _refuse_mixed(found, lambda cell: {name: cell.settings[name] for name in BUDGET})
    groups: Cells = defaultdict(list)
    for cell in sorted(found, key=lambda cell: cell.settings["seed"]):
        groups[cell.settings["environment"], cell.settings["algorithm"]].append(cell)
    for algorithm in {algorithm for _, algorithm in groups}:
        cells = [cell for cell in found if cell.settings["algorithm"] == algorithm]
        _refuse_mixed(cells, lambda cell: {"arguments": cell.settings["arguments"], **cell.content["defaults"]})
    _refuse_mixed(found, lambda cell: cell.content["versions"])
    return dict(groups)


def read(path: Path) -> Finished:
    """
    A finished cell.

    :param path: its ``result.json``
    """
    table = pd.read_csv(path.with_name("evaluations.csv"))
    curve = table[["steps", "wall_seconds", "processor_seconds"]].assign(returns=table.filter(like="return_").mean(1))
    return Finished(path, json.loads(path.read_text(encoding="utf-8")), curve)


def _refuse_mixed(cells: Iterable[Finished], facts_of: Any) -> None:
    """Each fact that several cells name must have one value."""
    seen: dict[str, tuple[Any, Path]] = {}
    for cell in cells:
        for name, value in facts_of(cell).items():
            first, path = seen.setdefault(name, (value, cell.path))
            if value != first:
                raise MixedResultsError(f"{name} is {first!r} in {path} and {value!r} in {cell.path}")


def scores(cells: Cells, reference: str, algorithms: Sequence[str], column: int | None = None) -> dict[str, np.ndarray]:
    """
    Returns on one scale for all environments: 0 is the lowest evaluation of any cell, 1 the reference's final return.

    :param cells: finished cells; environments that lack one of the algorithms are left out
    :param reference: the algorithm whose mean final return is 1
    :param algorithms: whose scores are wanted
    :param column: number of the evaluation; ``None`` for the mean of the last ones
    :return: of each algorithm, an array of shape (seeds, environments) of the seeds that all environments have
    :raises ValueError: if no environment has cells of all algorithms and of the reference
    """
    environments = common_environments(cells, [*algorithms, reference])
    if not environments:
        raise ValueError(f"no environment has finished cells of all of {[*algorithms, reference]}")
    found = {}
    for algorithm in algorithms:
        groups = {name: {cell.settings["seed"]: cell for cell in cells[name, algorithm]} for name in environments}
        seeds = sorted(set.intersection(*(set(group) for group in groups.values())))
        found[algorithm] = np.array(
            [[_score(cells, name, reference, groups[name][seed], column) for name in environments] for seed in seeds]
        )
    return found


def common_environments(cells: Cells, algorithms: Sequence[str]) -> list[str]:
    """
    The environments that have cells of all algorithms.

    :param cells: finished cells
    :param algorithms: names of algorithms
    """
    names = list(dict.fromkeys(environment for environment, _ in cells))
    return [name for name in names if all((name, algorithm) in cells for algorithm in algorithms)]


def _score(cells: Cells, environment: str, reference: str, cell: Finished, column: int | None) -> float:
    low = min(
        other.curve["returns"].min() for (name, _), group in cells.items() if name == environment for other in group
    )
    high = np.mean([other.final_return for other in cells[environment, reference]])
    value = cell.final_return if column is None else cell.curve["returns"].iloc[column]
    return float((value - low) / (high - low))
