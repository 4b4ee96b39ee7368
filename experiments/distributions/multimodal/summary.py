"""The figures of all runs as a page of tables, and whether FlowSAC's goals are met."""

import numpy as np

from experiments.distributions.multimodal.bandits import OWN
from experiments.distributions.multimodal.peers import NAMES
from experiments.distributions.multimodal.pictures import Runs
from experiments.runner.tables import markdown_table
from experiments.runner.tasks import Result

KL_GOAL = 0.1
SHARES_GOAL = 0.15, 0.35


def page(bandits: Runs, goals: dict[str, dict[int, Result]]) -> str:
    """
    Tables in Markdown.

    :param bandits: results on BoltzmannBandit-v0
    :param goals: results on MultiGoal-v0 by algorithm and seed
    """
    parts = []
    if bandits:
        heading = [
            "target",
            "algorithm",
            "KL, nats",
            "of the actor",
            "of the critic",
            "error of a mode's mass",
            "goal",
        ]
        rows = (_bandit_row(target, algo, seeds) for (target, algo), seeds in bandits.items())
        parts += ["## BoltzmannBandit-v0: the worst of the seeds", markdown_table(heading, rows)]
    if goals:
        heading = ["algorithm", "seed", "share of each goal", "none", "return", "steps to the goal", "goal"]
        found = (_goal_row(algo, seed, result) for algo, seeds in goals.items() for seed, result in seeds.items())
        parts += ["## MultiGoal-v0: episodes from the centre", markdown_table(heading, found)]
    return "\n\n".join(parts) + "\n"


def _bandit_row(target: str, algo: str, seeds: dict[int, Result]) -> list[str]:
    results = list(seeds.values())
    worst = max(result["kl"] for result in results)
    true = OWN[target]().mode_masses
    error = max(np.abs(np.array(result["masses"]) - true).max() for result in results)
    shares = [
        f"{max(result[key] for result in results):.3f}" if key in results[0] else ""
        for key in ("kl_of_actor", "kl_of_critic")
    ]
    return [
        target,
        f"{NAMES[algo]}, {len(results)} seed(s)",
        f"{worst:.3f}",
        *shares,
        f"{error:.3f}" if len(true) > 1 else "",
        _verdict(algo, worst <= KL_GOAL),
    ]


def _goal_row(algo: str, seed: int, result: Result) -> list[str]:
    shares = result["shares"]
    met = SHARES_GOAL[0] <= min(shares) and max(shares) <= SHARES_GOAL[1]
    figures = [f"{result['no_goal']:.1%}", f"{result['return']:.1f}", f"{result['length']:.1f}"]
    return [NAMES[algo], str(seed), ", ".join(f"{share:.1%}" for share in shares), *figures, _verdict(algo, met)]


def _verdict(algo: str, met: bool) -> str:
    return "" if algo != "flowsac" else "met" if met else "missed"
