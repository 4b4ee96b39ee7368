"""
Milliseconds of a gradient step, FlowSAC and SB3's SAC in turn, both at their defaults; ratios first.

    python benchmarks/step.py --env Pendulum-v1 --threads 1
"""

import argparse
import time

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from sb3_flowsac import FlowSAC


def milliseconds(model: OffPolicyAlgorithm, n_steps: int) -> float:
    """Mean time of one gradient step."""
    start = time.perf_counter()
    model.train(n_steps, 256)
    return (time.perf_counter() - start) / n_steps * 1e3


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="Pendulum-v1", help="environment id")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--rounds", type=int, default=10, help="rounds in which both are timed")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models: list[OffPolicyAlgorithm] = [
        FlowSAC("FlowPolicy", arguments.env, seed=0),
        SAC("MlpPolicy", arguments.env, seed=0),
    ]
    for model in models:
        model.learn(300)
    times = np.array([[milliseconds(model, 50) for model in models] for _ in range(arguments.rounds)])
    flow, sac = np.median(times, axis=0)
    print(
        f"FlowSAC / SAC {np.median(times[:, 0] / times[:, 1]):.2f} (FlowSAC {flow:.1f} ms, SAC {sac:.1f} ms a gradient step)"
    )
    print(f"{arguments.env}, {arguments.threads} thread(s), torch {torch.__version__}, medians of {arguments.rounds} rounds")


if __name__ == "__main__":
    main()
