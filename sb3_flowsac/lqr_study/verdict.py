"""Whether a run has learnt the optimum, by one rule for all problems."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

LEARNT, NOT_YET, FAILED = "learnt", "not yet", "failed"
# Largest values of a run that has learnt, and smallest of one that has failed. None depends on the problem or the run
LIMITS = {
    "mean error": (0.03, 0.5),
    "covariance error": (0.05, 1.0),
    "loss of return": (0.01, 1.0),
    "critic's residual": (0.01, 1.0),
}


def verdict(row: Mapping[str, Any]) -> str:
    """
    The verdict on a run.

    "learnt" if mean error, covariance error, loss of return and the critic's residual are all at most the first numbers
    of ``LIMITS``; "failed" if one is not finite or above its second number; otherwise "not yet". An error counts with
    its sampling floor, which could hide as much.

    :param row: the run's entry in ``results.json``
    """
    measured = figures(row)
    if any(not value <= LIMITS[name][1] for name, value in measured.items()):
        return FAILED
    return LEARNT if all(value <= LIMITS[name][0] for name, value in measured.items()) else NOT_YET


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """
    What a ``verdict`` looks at: the errors with their floors, the loss of return as a share of the optimum's, and the
    critic's residual where the critic has one.
    """
    loss = (row["optimal_return"] - row["return"]) / abs(row["optimal_return"])
    measured = {
        "mean error": math.hypot(row["mean_error"], row["mean_floor"]),
        "covariance error": math.hypot(row["cov_error"], row["cov_floor"]),
        "loss of return": loss if math.isnan(loss) else max(0.0, loss),
    }
    if row.get("critic_residual") is not None:
        measured["critic's residual"] = row["critic_residual"]
    return measured


def advice(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to try for runs that have not learnt, of those in ``results.json``, as lines to print."""
    lines = []
    for row in rows:
        if row["verdict"] == LEARNT:
            continue
        above = [
            f"{name} {value:.2g} (at most {LIMITS[name][0]:g})"
            for name, value in ({} if "failure" in row else figures(row)).items()
            if not value <= LIMITS[name][0]
        ]
        reason = row.get("failure") or ", ".join(above)
        lines.append(f"alpha {row['alpha']:g}, seed {row['seed']}: {row['verdict']}: {reason}")
    if not lines:
        return []
    steps = max(row["timesteps"] for row in rows)
    lines.append(f"To try: more data (--timesteps {2 * steps}); less noise_cov or more initial_cov in the problem;")
    if any(row["verdict"] == FAILED for row in rows):
        lines.append("a shorter time step, or states nearer the origin: a system that leaves its range teaches little.")
    else:
        lines.append("a higher temperature, under which the actions explore more.")
    return lines


def short(value: float) -> str:
    """A number of any size in at most nine characters."""
    return f"{value:.4g}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")


def percent(value: float) -> str:
    """A share of any size in at most nine characters."""
    return f"{100.0 * value:.1f}%" if abs(value) < 100.0 else f"{100.0 * value:.2g}%"
