"""
Train small policies on BoltzmannBandit-v0 and draw the pictures of docs/gallery.md.

    python -m experiments.distributions.gallery --out docs/gallery
"""

import argparse
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
from matplotlib.figure import Figure
from stable_baselines3 import SAC
from stable_baselines3.common.monitor import Monitor

from maxent_envs.targets import RotatingMixture, TwoHumps
from sb3_flowsac import FlowSAC
from sb3_flowsac.plotting import (
    Curve,
    action_density,
    density_against_target,
    flow_paths,
    learning_curves,
    read_curve,
    weights_histogram,
)
from sb3_flowsac.plotting.style import save_figures

TEMPERATURE = 0.1
TARGETS = {"one": TwoHumps(), "two": RotatingMixture(), "three": TwoHumps(dim=3)}  # by the number of action components
STEPS = {"one": 1500, "two": 4000, "three": 2000}  # environment steps of a run
SMALL = {"ent_coef": TEMPERATURE, "learning_rate": 1e-3, "batch_size": 128, "buffer_size": 10_000, "device": "cpu"}
SEEDS = 3  # of the learning curves
N_STATES = 256  # of the histogram of weights


def train(algo: type[FlowSAC] | type[SAC], target: str, folder: Path, seed: int = 0) -> FlowSAC | SAC:
    """A model with small networks, whose returns are in a Monitor's file."""
    env = Monitor(
        gym.make("BoltzmannBandit-v0", target=TARGETS[target], temperature=TEMPERATURE), str(folder / "monitor.csv")
    )
    policy_kwargs = {"net_arch": [128, 128]}
    model = algo("MlpPolicy", env, seed=seed, policy_kwargs=policy_kwargs, **SMALL)
    return model.learn(STEPS[target], log_interval=1_000_000)


def states(target: str, n: int) -> np.ndarray:
    """States of a target, as observations."""
    return TARGETS[target].sample_states(n, np.random.default_rng(1)).astype(np.float32)


def curves(scratch: Path) -> tuple[Figure, FlowSAC]:
    """Learning curves of both algorithms on the target of one component, and FlowSAC's first model."""
    runs: dict[str, list[Curve]] = {"FlowSAC": [], "SAC": []}
    models = []
    for label, algo in (("FlowSAC", FlowSAC), ("SAC", SAC)):
        for seed in range(SEEDS):
            folder = scratch / f"{label}_{seed}"
            models.append(train(algo, "one", folder, seed))
            runs[label].append(read_curve(folder))
    return learning_curves(runs), models[0]


def main() -> None:
    """Train and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder for the pictures")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as scratch:
        figure, one = curves(Path(scratch))
        two, three = (train(FlowSAC, target, Path(scratch) / target) for target in ("two", "three"))
    figures = {
        "learning_curves": figure,
        "density_1d": density_against_target(one.policy, states("one", 1), TARGETS["one"].log_density),
        "paths_1d": flow_paths(one.policy, states("one", 1)),
        "density_2d": action_density(two.policy, states("two", 3)),
        "against_target": density_against_target(two.policy, states("two", 2), TARGETS["two"].log_density),
        "paths_2d": flow_paths(two.policy, states("two", 1)),
        "weights": weights_histogram(two, states("two", N_STATES)),
        "corner": action_density(three.policy, states("three", 1)),
    }
    save_figures(figures, out)


if __name__ == "__main__":
    main()
