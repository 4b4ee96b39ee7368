"""What the default settings are to reach, by the worst of the seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.distributions.static_targets.cases import CASES

Row = dict[str, Any]
Runs = Mapping[tuple[str, str], Mapping[int, Sequence[Row]]]
"""Rows of the measurements by target and method, and by seed."""

DEFAULT, BEST = "isfm", "true"


@dataclass(frozen=True)
class Goal:
    """
    A bound on a figure of the default method.

    :param target: the target
    :param updates: after how many updates
    :param figure: its name in a row, see ``measures``
    :param limit: the largest value that is good enough
    :param relative: whether the limit is in units of the fit to true samples with the same seed
    """

    target: str
    updates: int
    figure: str
    limit: float
    relative: bool = False

    def values(self, runs: Runs) -> list[float]:
        """The figure of each seed that has run."""
        found = _values(runs, self, DEFAULT)
        if self.relative:
            of_true = _values(runs, self, BEST)
            found = {seed: value / of_true[seed] for seed, value in found.items() if seed in of_true}
        return list(found.values())

    def __str__(self) -> str:
        unit = " times the kl of true samples" if self.relative else ""
        return f"{self.target}, {self.updates} updates: {self.figure} at most {self.limit:g}{unit}"


def _values(runs: Runs, goal: Goal, method: str) -> dict[int, float]:
    by_seed = runs.get((goal.target, method), {})
    return {seed: row[goal.figure] for seed, rows in by_seed.items() for row in rows if row["updates"] == goal.updates}


GOALS = (
    Goal("sharp_6d", 1500, "kl", 0.3),
    Goal("sharp_6d_cold", 1500, "kl", 0.7),
    Goal("sharp_17d", 3000, "kl", 1.0),
    Goal("rotating_mixture", 3000, "kl", 0.2),
    Goal("rotating_mixture", 6000, "kl", 0.1),
    Goal("rotating_mixture", 6000, "mode_mass_in_states", 0.05),
    Goal("unequal_modes", 3000, "mode_mass_in_states", 0.03),
    *(Goal(name, case.updates, "kl", 1.5, relative=True) for name, case in CASES.items() if case.is_low_dimensional),
)
