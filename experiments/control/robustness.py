"""
Trained agents in disturbed environments: noise on actions or observations, other masses and friction than in training.

Takes the finished cells that still have their models; agents of a former run whose models are gone keep their rows. All
agents of an environment meet the same first states and the same noise. A cell of the table is the mean return over
seeds and episodes.

    python -m experiments.control --algo flowsac crossq_256 sac --env Hopper-v5 --seed 0 1 --steps 30000
    python -m experiments.control.robustness --episodes 20
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TransformAction, TransformObservation
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from experiments.control.results import read
from experiments.runner.algorithms import ALGORITHMS
from experiments.runner.tables import markdown_table
from experiments.runner.tasks import write_json
from experiments.runner.versions import machine, revision

Environment = gym.Env[np.ndarray, np.ndarray]
SEED = 2_000_000  # of first states and noise: none that training or its evaluations have seen


def noisy_actions(env: Environment, std: float) -> Environment:
    """Gaussian noise on actions, of so many half widths of the Box, clipped to it."""
    box, rng = cast(gym.spaces.Box, env.action_space), np.random.default_rng(SEED)
    width = 0.5 * std * (box.high - box.low)
    return TransformAction(env, lambda a: np.clip(a + width * rng.standard_normal(a.shape), box.low, box.high), box)


def noisy_observations(env: Environment, std: float) -> Environment:
    """Gaussian noise on observations, in their own units."""
    rng = np.random.default_rng(SEED)
    return TransformObservation(env, lambda o: o + std * rng.standard_normal(o.shape), env.observation_space)


def scaled(env: Environment, name: str, factor: float) -> Environment:
    """A constant of MuJoCo's model, times a factor."""
    getattr(env.get_wrapper_attr("model"), name)[:] *= factor
    return env


DISTURBANCES: dict[str, Callable[[Environment], Environment]] = {
    "none": lambda env: env,
    "action noise 0.1": partial(noisy_actions, std=0.1),
    "action noise 0.3": partial(noisy_actions, std=0.3),
    "observation noise 0.02": partial(noisy_observations, std=0.02),
    "observation noise 0.1": partial(noisy_observations, std=0.1),
    "mass x 0.8": partial(scaled, name="body_mass", factor=0.8),
    "mass x 1.2": partial(scaled, name="body_mass", factor=1.2),
    "friction x 0.8": partial(scaled, name="geom_friction", factor=0.8),
    "friction x 1.2": partial(scaled, name="geom_friction", factor=1.2),
}


def returns(model: BaseAlgorithm, environment: str, disturbance: str, episodes: int) -> list[float]:
    """
    Returns of deterministic episodes.

    :param model: the agent
    :param environment: id of a MuJoCo environment
    :param disturbance: key of ``DISTURBANCES``
    :param episodes: how many
    """
    env = Monitor(DISTURBANCES[disturbance](gym.make(environment)))
    env.reset(seed=SEED)
    found, _ = evaluate_policy(model, env, episodes, return_episode_rewards=True)
    env.close()
    return [round(float(value), 2) for value in found]


def table(agents: dict[str, Any]) -> str:
    """
    The table, in Markdown.

    :param agents: what the file holds of each, under "returns" by disturbance the returns of each seed
    """
    rows = []
    for agent, content in sorted(agents.items()):
        found = content["returns"]
        rows.append([agent, str(len(found["none"])), *(f"{np.mean(found[name]):,.0f}" for name in DISTURBANCES)])
    return markdown_table(("agent", "seeds", *DISTURBANCES), rows)


def main() -> None:
    """Evaluate the agents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("experiments/results/control"), help="folder of the cells")
    parser.add_argument("--env", nargs="+", default=["HalfCheetah-v5", "Hopper-v5"], help="MuJoCo environments")
    parser.add_argument("--episodes", type=int, default=20, help="episodes of each agent and disturbance")
    parser.add_argument("--out", type=Path, default=Path("docs/calibration/robustness.json"), help="the returns")
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    trained = defaultdict(set)
    for environment in arguments.env:
        for path in sorted((arguments.results / environment).glob("*/*/model.zip")):
            cell = read(path.with_name("result.json"))
            algorithm, steps = cell.settings["algorithm"], cell.settings["steps"]
            model = ALGORITHMS[algorithm].model_class.load(path, device="cpu")
            for name in DISTURBANCES:
                agent = f"{environment}, {algorithm}, {steps:,} steps"
                found[agent][name].append(returns(model, environment, name, arguments.episodes))
            trained[agent].add(cell.content["result"]["revision"])
    if not found:
        raise FileNotFoundError(f"{arguments.results} holds no cell ENVIRONMENT/ALGORITHM/SEED with its model.zip")
    agents = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
    where = {"episodes": arguments.episodes, "machine": machine(), "revision": revision()}
    for agent, by_disturbance in found.items():
        agents[agent] = {**where, "revisions of the training": sorted(trained[agent]), "returns": by_disturbance}
    write_json(arguments.out, agents)
    print(table(agents))


if __name__ == "__main__":
    main()
