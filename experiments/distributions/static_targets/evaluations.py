"""How many values of Q the schedule of proposals and fixed numbers of them take to the same KL divergence."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from experiments.distributions.static_targets.goals import Row, Runs

SCHEDULED, FIXED = "auto", ("isfm", "isfm_32")
HEADINGS = ("target", "seeds", "KL(pi, p)", SCHEDULED, *FIXED)
FROM = 400  # updates: earlier the policy is far from the target and the KL divergence no figure of merit


def evaluations_table(runs: Runs) -> list[list[str]]:
    """Rows of the table, in millions of values: one for each KL divergence that the schedule comes by, on its way
    down."""
    cells = []
    for target in dict.fromkeys(target for target, method in runs if method == SCHEDULED):
        scheduled, *fixed = (runs.get((target, method), {}) for method in (SCHEDULED, *FIXED))
        seeds = [seed for seed in scheduled if seed in fixed[0]]
        if seeds:
            for count, evaluations, kl in _mean_curve(scheduled, seeds):
                if count >= FROM:
                    others = [_millions(until(_mean_curve(by_seed, seeds), kl)) for by_seed in fixed]
                    cells.append([target, str(len(seeds)), f"{kl:.3g}", _millions(evaluations), *others])
    return cells


def until(curve: Sequence[tuple[int, float, float]], kl: float) -> float | None:
    """
    The number of values of Q at which a curve first is at a KL divergence, by interpolation of the logarithms.

    :param curve: updates, values of Q so far and KL divergence
    :param kl: where to; None is returned if the curve begins below it or stays above
    """
    for (_, before, high), (_, after, low) in pairwise(curve):
        if high >= kl >= low:
            share = np.log(high / kl) / np.log(high / low) if high > low else 0.0
            return float(before * (after / before) ** share)
    return None


def _mean_curve(by_seed: Mapping[int, Sequence[Row]], seeds: Sequence[int]) -> list[tuple[int, float, float]]:
    """The mean over the seeds, or nothing where one of them has not run."""
    if not all(seed in by_seed for seed in seeds):
        return []
    at_count = zip(*(by_seed[seed] for seed in seeds), strict=True)
    return [(rows[0]["updates"], _mean(rows, "evaluations"), _mean(rows, "kl")) for rows in at_count]


def _mean(rows: Sequence[Row], figure: str) -> float:
    return float(np.mean([row[figure] for row in rows]))


def _millions(evaluations: float | None) -> str:
    return "" if evaluations is None else f"{evaluations / 1e6:.2f}"
