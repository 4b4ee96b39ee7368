"""
How many environments one learner takes in: environment steps a second with 1, 4 and 16 of them, in this process
(DummyVecEnv) and in processes of their own (SubprocVecEnv).

    python -m experiments.speed.vec_env
    python -m experiments.speed.vec_env --env maxent_envs:MultiGoal-v0 --n-envs 1 64

Three rhythms: the policy acts and nothing is learnt; a gradient step after each step of all environments, SB3's
default; and a gradient step for each environment step (gradient_steps=-1). Medians over rounds of wall time.
"""

import argparse
import time
import warnings
from itertools import product

import numpy as np
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from experiments.runner.tables import markdown_table
from sb3_flowsac import FlowSAC

CLASSES = (DummyVecEnv, SubprocVecEnv)
RHYTHMS = {"acting alone": 0, "a gradient step for all": 1, "a gradient step for each": -1}  # gradient_steps


def rate(model: FlowSAC, gradient_steps: int, steps: int) -> float:
    """
    Environment steps a second.

    :param model: past its warm-up
    :param gradient_steps: after each step of all environments; -1 for as many as there are environments
    :param steps: environment steps, at least
    """
    model.gradient_steps = gradient_steps
    before, start = model.num_timesteps, time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    return (model.num_timesteps - before) / (time.perf_counter() - start)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="HalfCheetah-v5", help="environment, with its module where workers need it")
    parser.add_argument("--n-envs", type=int, nargs="+", default=[1, 4, 16], help="numbers of environments")
    parser.add_argument("--steps", type=int, default=480, help="environment steps of a timing")
    parser.add_argument("--rounds", type=int, default=5, help="timings of each rhythm")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message="no gradient step will be taken")  # as is meant
    rows = []
    for n, vec_env_class in product(arguments.n_envs, CLASSES):
        env = make_vec_env(arguments.env, n_envs=n, seed=0, vec_env_cls=vec_env_class)
        model = FlowSAC("FlowPolicy", env, learning_starts=100, buffer_size=100_000, seed=0, device="cpu")
        model.learn(100 + 10 * n)
        found = [[rate(model, steps, arguments.steps) for steps in RHYTHMS.values()] for _ in range(arguments.rounds)]
        rows.append([str(n), vec_env_class.__name__, *(f"{value:.0f}" for value in np.median(found, axis=0))])
        env.close()
    print(markdown_table(("environments", "VecEnv", *RHYTHMS), rows))
    print(f"\n{arguments.env}, environment steps a second, {arguments.threads} thread(s), torch {torch.__version__}")


if __name__ == "__main__":
    main()
