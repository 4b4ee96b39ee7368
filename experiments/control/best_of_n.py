r"""
What it is worth to take the best of n actions by the critics: returns of one FlowSAC, trained here or loaded, for
several n.

All policies are evaluated from the same first states; the second figure is the difference to n = 1 with its standard
error.

    python -m experiments.control.best_of_n
    python -m experiments.control.best_of_n --env MultiGoal-v0 --steps 10000 --ent-coef 1.0
    python -m experiments.control.best_of_n --env HalfCheetah-v5 \
        --model control/flowsac-HalfCheetah-v5-1/model.zip --episodes 10
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_flowsac import FlowSAC

EVALUATION_SEED = 1000


def returns(model: FlowSAC, env_id: str, episodes: int, deterministic: bool) -> np.ndarray:
    """Returns of episodes whose first states are the same in each call."""
    env = make_vec_env(env_id, n_envs=episodes, seed=EVALUATION_SEED)
    model.set_random_seed(EVALUATION_SEED)
    evaluate_policy(model, env, episodes, deterministic=deterministic)
    # In the order of the environments; evaluate_policy has them in the order in which they end
    return np.array([returns[0] for returns in env.env_method("get_episode_rewards")])


def trained(arguments: argparse.Namespace) -> FlowSAC:
    """The model of the file, or one trained now."""
    if arguments.model is not None:
        return FlowSAC.load(arguments.model, device="cpu")
    ent_coef = arguments.ent_coef if arguments.ent_coef.startswith("auto") else float(arguments.ent_coef)
    model = FlowSAC("FlowPolicy", arguments.env, ent_coef=ent_coef, seed=arguments.seed, device="cpu")
    return model.learn(arguments.steps, log_interval=1_000_000)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Pendulum-v1", help="environment")
    parser.add_argument("--model", type=Path, help="a saved model in place of a training")
    parser.add_argument("--steps", type=int, default=5_000, help="environment steps of the training")
    parser.add_argument("--ent-coef", default="auto_0.1", help="temperature")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the training")
    parser.add_argument("--n", type=int, nargs="+", default=[4, 16, 64], help="numbers of candidates")
    parser.add_argument("--episodes", type=int, default=50, help="episodes of each evaluation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = trained(arguments)
    print("| prediction | n | return | more than with n = 1 |\n| --- | --- | --- | --- |")
    for deterministic in (True, False):
        reference = None
        for n in (1, *arguments.n):
            model.policy.n_action_candidates = model.policy.n_acting_candidates = n
            found = returns(model, arguments.env, arguments.episodes, deterministic)
            reference = found if reference is None else reference
            gain = found - reference
            error = gain.std(ddof=1) / len(gain) ** 0.5
            kind = "deterministic" if deterministic else "stochastic"
            print(f"| {kind} | {n} | {found.mean():.1f} | {gain.mean():.1f} ± {error:.1f} |", flush=True)


if __name__ == "__main__":
    main()
