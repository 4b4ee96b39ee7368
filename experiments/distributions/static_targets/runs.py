"""One run: fit an actor to a target, measuring it after given numbers of updates."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from experiments.distributions.static_targets.cases import CASES
from experiments.distributions.static_targets.fits import METHODS, Fit
from experiments.distributions.static_targets.measures import density_picture, measures
from experiments.runner.tasks import Result, Task

UPDATES = (50, 200, 400, 800, 1500, 3000, 6000)


def run(target: str, method: str, seed: int, updates: Sequence[int]) -> Result:
    """
    Fit an actor.

    :param target: a key of ``CASES``
    :param method: a key of ``METHODS``
    :param seed: random seed
    :param updates: after how many updates to measure, increasing
    :return: ``rows``, one for each measurement: the figures of ``measures``, seconds of wall and processor time that
        the updates took, values of Q asked for, and of fits with proposals ``proposals_ess``, the effective sample size
        over the number of proposals since the last row; in two dimensions ``densities``, a picture of the last policy
    """
    fit = METHODS[method](CASES[target], seed)
    clock = np.zeros(2)
    rows, done = [], 0
    for until in updates:
        for update in range(done, until):
            fit.progress_remaining = 1.0 - update / updates[-1]
            clock += _timed_update(fit)
        done = until
        wall, processor = clock.tolist()
        row = {
            "updates": until,
            "wall_seconds": wall,
            "processor_seconds": processor,
            "evaluations": fit.critic.evaluations,
        }
        rows.append({**row, **measures(fit), **_proposals_ess(fit)})
    pictures = density_picture(fit) if fit.target.action_dim == 2 else {}
    return {"rows": rows, "densities": pictures}


def _timed_update(fit: Fit) -> np.ndarray:
    """Seconds of wall and processor time that an update took."""
    batch = fit.batch()
    start = time.perf_counter(), time.process_time()
    fit.update(*batch)
    return np.array([time.perf_counter() - start[0], time.process_time() - start[1]])


def _proposals_ess(fit: Fit) -> dict[str, float]:
    if "ess" not in fit.stats:
        return {}
    share = torch.stack(fit.stats["ess"]).mean().item()
    fit.stats.clear()
    return {"proposals_ess": share}


def tasks(
    targets: Sequence[str], methods: Sequence[str], seeds: Sequence[int], updates: Sequence[int] | None
) -> list[Task]:
    """
    Runs of all combinations.

    :param updates: after how many updates to measure; default ``UPDATES`` as far as the target's length
    """
    found = []
    for target in targets:
        counts = sorted(updates or [count for count in UPDATES if count <= CASES[target].updates])
        for method in methods:
            for seed in seeds:
                arguments: dict[str, Any] = {"target": target, "method": method, "seed": seed, "updates": counts}
                found.append(Task(f"runs/{target}/{method}-{seed}", run, arguments, arguments))
    return found
