"""
FlowSAC, all arguments at their defaults, on a one-step environment whose optimum has two unequal humps.

The environment is BoltzmannBandit-v0 with the target TwoHumps, the Box rescaled in some cases.
Prints, for each dimension, Box and seed, KL(pi || optimum) in nats and the mass of the smaller hump against the true
one.

    python -m experiments.distributions.two_humps
"""

import argparse

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import RescaleAction

from maxent_envs.targets import TwoHumps
from sb3_flowsac import FlowSAC

ALPHA = 0.1
# Dimension, standard deviation of the humps in units of half the Box, lower and upper bound of the Box
CASES = [(1, 0.15, -1.0, 1.0), (2, 0.15, -1.0, 1.0), (1, 0.1 / 1.5, -2.0, 1.0), (2, 0.1, -1.0, 1.0), (2, 0.2, 0.0, 2.0)]


def measure(dim: int, std: float, low: float, high: float, seed: int, steps: int) -> str:
    """Train and compare with the optimum."""
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
    return f"KL {kl:.3f} nats, mass of the smaller hump {smaller:.3f} (true {target.mode_masses[1]:.3f})"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps of each run")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="random seeds")
    parser.add_argument(
        "--case", type=int, nargs="+", default=range(len(CASES)), help="numbers of the cases to run, from 0"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for dim, std, low, high in (CASES[i] for i in arguments.case):
        for seed in arguments.seed:
            result = measure(dim, std, low, high, seed, arguments.steps)
            print(f"{dim}-d, std {std:.3g}, Box [{low}, {high}], seed {seed}: {result}", flush=True)


if __name__ == "__main__":
    main()
