"""
FlowSAC, all arguments at their defaults, on a one-step environment whose optimum has two unequal humps.

The reward is alpha log p(a), so that the max-entropy optimum at temperature alpha is p itself, restricted to the Box.
Prints, for each dimension, Box and seed, KL(pi || optimum) in nats and the mass of the smaller hump against the true one.

    python benchmarks/two_humps.py
"""

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from sb3_flowsac import FlowSAC

ALPHA = 0.1
MASSES = (0.7, 0.3)
# Dimension, standard deviation of the humps, lower and upper bound of the Box
CASES = [(1, 0.15, -1.0, 1.0), (2, 0.15, -1.0, 1.0), (1, 0.1, -2.0, 1.0), (2, 0.1, -1.0, 1.0), (2, 0.2, 0.0, 2.0)]


class TwoHumps(gym.Env[np.ndarray, np.ndarray]):
    """One step; reward alpha log p(a) with p two Gaussian humps on the diagonal of the Box."""

    def __init__(self, dim: int, std: float, low: float, high: float) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
        self.action_space = gym.spaces.Box(low, high, (dim,))
        self.std = std
        self.centres = low + (high - low) * np.array([0.25, 0.75])

    def log_density(self, actions: np.ndarray) -> np.ndarray:
        """log p, (..., dim) to (...)."""
        humps = [norm.logpdf(actions, centre, self.std).sum(-1) for centre in self.centres]
        return logsumexp(np.stack(humps, -1), axis=-1, b=MASSES)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), ALPHA * float(self.log_density(action)), True, False, {}


def measure(dim: int, std: float, low: float, high: float, seed: int, steps: int) -> str:
    """Train and compare with the optimum."""
    env = TwoHumps(dim, std, low, high)
    model = FlowSAC("FlowPolicy", env, ent_coef=ALPHA, seed=seed).learn(steps)
    with torch.no_grad():
        actions, log_prob = model.policy.sample(np.zeros((1, 1), np.float32), 20_000)
    drawn = actions[0].double().numpy()
    # Mass of the optimum's humps inside the Box, which is all of Z
    inside = [(norm.cdf(high, c, std) - norm.cdf(low, c, std)) ** dim for c in env.centres]
    z = float(np.dot(MASSES, inside))
    kl = float((log_prob[0].double().numpy() - env.log_density(drawn)).mean()) + np.log(z)
    nearer_second = np.square(drawn - env.centres[1]).sum(-1) < np.square(drawn - env.centres[0]).sum(-1)
    return f"KL {kl:.3f} nats, mass of the smaller hump {nearer_second.mean():.3f} (true {MASSES[1] * inside[1] / z:.3f})"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps of each run")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="random seeds")
    parser.add_argument("--case", type=int, nargs="+", default=range(len(CASES)), help="numbers of the cases to run, from 0")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for dim, std, low, high in (CASES[i] for i in arguments.case):
        for seed in arguments.seed:
            result = measure(dim, std, low, high, seed, arguments.steps)
            print(f"{dim}-d, std {std}, Box [{low}, {high}], seed {seed}: {result}", flush=True)


if __name__ == "__main__":
    main()
