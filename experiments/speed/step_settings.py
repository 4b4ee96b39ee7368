"""
What FlowSAC's settings cost: milliseconds of a gradient step over those of SB3's SAC, all in turn in one process.

    python -m experiments.speed.step_settings --env HalfCheetah-v5

Whether a setting learns as well is not said here.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from sb3_flowsac import FlowSAC

STEPS = 48  # of a timing: a multiple of each rhythm below, so that each has its share of updates of the actor
SETTINGS: list[dict[str, Any]] = [
    {},
    {"policy_delay": 1},
    {"policy_delay": 2},
    {"policy_delay": 6},
    {"policy_delay": 1_000_000},
    {"isfm_interval": 1},
    {"isfm_interval": 4},
    {"actor_loss": "pathwise"},
    {"actor_loss": "isfm"},
    {"policy_kwargs": {"critic": "network"}},
    {"actor_batch_size": 128},
    {"actor_batch_size": None},
    {"n_proposals": 8},
    {"policy_kwargs": {"ode_steps": 2}},
    {"policy_kwargs": {"density": "trace"}},
    {"sampling_distribution": "policy"},
    {"torch_compile": True},
    {"torch_compile": True, "policy_delay": 1_000_000},
]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="HalfCheetah-v5", help="environment id")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--rounds", type=int, default=15, help="rounds in which each setting is timed")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    common: dict[str, Any] = {"seed": 0, "device": "cpu", "buffer_size": 10_000, "learning_starts": 300}
    models: list[OffPolicyAlgorithm] = [
        FlowSAC("FlowPolicy", arguments.env, **common, **setting) for setting in SETTINGS
    ]
    models.append(SAC("MlpPolicy", arguments.env, **common))
    for model in models:
        model.learn(310)
    times = np.empty((arguments.rounds, len(models)))
    for row in times:
        for i, model in enumerate(models):
            start = time.perf_counter()
            model.train(STEPS, 256)
            row[i] = time.perf_counter() - start
    ratios, fastest = np.median(times / times[:, -1:], axis=0), times.min(axis=0) / times[:, -1].min()
    for setting, ratio, least in zip(SETTINGS, ratios, fastest, strict=False):
        print(f"{ratio:.2f} x SAC's gradient step ({least:.2f} in the fastest rounds): {setting or 'defaults'}")
    print(f"{arguments.env}, {arguments.threads} thread(s), {arguments.rounds} rounds, torch {torch.__version__}")


if __name__ == "__main__":
    main()
