"""Tables of the results, as Markdown."""

from collections.abc import Sequence

import numpy as np

from experiments.distributions.static_targets.goals import GOALS, Row, Runs
from experiments.runner.tables import markdown_table

FIGURES = {
    "kl": "KL(pi, p)",
    "kl_error": "standard error",
    "forward_kl": "KL(p, pi)",
    "ess": "ESS of the policy",
    "proposals_ess": "ESS of the proposals",
    "mode_mass": "mode mass",
    "mode_mass_in_states": "mode mass in states",
    "evaluations": "values of Q",
    "wall_seconds": "wall time (s)",
    "processor_seconds": "processor time (s)",
}


def report(runs: Runs) -> str:
    """Tables of the KL against updates, of all figures at the ends of the runs, and of the goals."""
    return "\n".join(
        [
            "KL(pi, p) in nats after numbers of updates: mean over the seeds, the worst in brackets.\n",
            _kl_table(runs),
            "\nAt the end: means over the seeds. ESS: effective sample size over the number of draws. Mode mass: "
            "largest",
            "deviation of a mode's mass, of the mean over states and of the root mean square over states.\n",
            _end_table(runs),
            "\nGoals of the defaults (`isfm`), by the worst of the seeds.\n",
            _goal_table(runs),
            "",
        ]
    )


def _kl_table(runs: Runs) -> str:
    counts = sorted({row["updates"] for by_seed in runs.values() for rows in by_seed.values() for row in rows})
    cells = []
    for (target, method), by_seed in runs.items():
        kls = [[row["kl"] for rows in by_seed.values() for row in rows if row["updates"] == count] for count in counts]
        cells.append(
            [target, method, str(len(by_seed)), *(f"{np.mean(kl):.3g} ({max(kl):.3g})" if kl else "" for kl in kls)]
        )
    return markdown_table(["target", "method", "seeds", *map(str, counts)], cells)


def _end_table(runs: Runs) -> str:
    cells = []
    for (target, method), by_seed in runs.items():
        last = [rows[-1] for rows in by_seed.values()]
        cells.append([target, method, str(last[0]["updates"]), *(_mean(last, figure) for figure in FIGURES)])
    return markdown_table(["target", "method", "updates", *FIGURES.values()], cells)


def _mean(rows: Sequence[Row], figure: str) -> str:
    return f"{np.mean([row[figure] for row in rows]):.3g}" if all(figure in row for row in rows) else ""


def _goal_table(runs: Runs) -> str:
    cells = []
    for goal in GOALS:
        values = goal.values(runs)
        verdict = [f"{max(values):.3g}", _yes(max(values) <= goal.limit)] if values else ["", "not run"]
        cells.append([str(goal), str(len(values)), *verdict])
    return markdown_table(["goal", "seeds", "worst", "holds"], cells)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
