"""
FlowSAC, all arguments at their defaults, on a one-step environment whose optimum has two unequal humps.

The environment is BoltzmannBandit-v0 with the target TwoHumps, the Box rescaled in some cases.
Prints, for each dimension, Box and seed, KL(pi || optimum) in nats and the mass of the smaller hump against the true
one.

    python -m experiments.distributions.two_humps
"""

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import RescaleAction

from experiments.runner.options import command_line, run
from experiments.runner.tasks import Result, Task
from maxent_envs.targets import TwoHumps
from sb3_flowsac import FlowSAC

ALPHA = 0.1
# Dimension, standard deviation of the humps in units of half the Box, lower and upper bound of the Box
CASES = [(1, 0.15, -1.0, 1.0), (2, 0.15, -1.0, 1.0), (1, 0.1 / 1.5, -2.0, 1.0), (2, 0.1, -1.0, 1.0), (2, 0.2, 0.0, 2.0)]


def measure(dim: int, std: float, low: float, high: float, seed: int, steps: int) -> Result:
    """Train and compare with the optimum: KL in nats, and the mass of the smaller hump beside the true one."""
    target = TwoHumps(dim, std)
    env = RescaleAction(
        gym.make("BoltzmannBandit-v0", target=target, temperature=ALPHA), np.float32(low), np.float32(high)
    )
    model = FlowSAC("FlowPolicy", env, ent_coef=ALPHA, seed=seed).learn(steps)
    with torch.no_grad():
        actions, log_prob = model.policy.sample(np.zeros((1, 1), np.float32), 20_000)
    half = (high - low) / 2.0
    drawn = np.clip((actions.double().numpy() - low) / half - 1.0, -1.0, 1.0)
    state = np.zeros((1, 1))
    kl = float((log_prob.double().numpy() + dim * np.log(half) - target.log_density(state, drawn)).mean())
    smaller = (target.mode_of(state, drawn) == 1).mean()
    return {"kl": kl, "smaller_hump": float(smaller), "true_smaller_hump": float(target.mode_masses[1])}


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, "two_humps")
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps of each run")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="random seeds")
    parser.add_argument(
        "--case", type=int, nargs="+", default=range(len(CASES)), help="numbers of the cases to run, from 0"
    )
    options = parser.parse_args()
    tasks = []
    for dim, std, low, high in (CASES[i] for i in options.case):
        for seed in options.seed:
            settings = {"dim": dim, "std": std, "low": low, "high": high, "seed": seed, "steps": options.steps}
            name = f"{dim}-d, std {std:.3g}, Box [{low}, {high}], seed {seed}"
            tasks.append(Task(name, measure, settings, settings))
    for task, found in zip(tasks, run(tasks, options), strict=True):
        masses = f"{found['smaller_hump']:.3f} (true {found['true_smaller_hump']:.3f})"
        print(f"{task.name}: KL {found['kl']:.3f} nats, mass of the smaller hump {masses}")


if __name__ == "__main__":
    main()
