"""
What the settings of the LQR study are worth: each changed on its own, errors against the optimum.

    python -m experiments.lqr.settings --alpha 0.5
"""

import argparse
import copy
from typing import Any

import torch
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from maxent_envs import preset
from sb3_flowsac.evaluation.lqr import evaluate_policy_on_lqr
from sb3_flowsac.evaluation.policies import LearntPolicy
from sb3_flowsac.lqr_study import models, training


def variants() -> dict[str, dict[str, Any]]:
    """Name and overrides of each variant."""
    settings = models.FLOW_SETTINGS

    def policy(**changes: Any) -> dict[str, Any]:
        return {"policy_kwargs": {**copy.deepcopy(settings["policy_kwargs"]), **changes}}

    return {
        "as in the study": {},
        "network critic [128, 128]": policy(critic="network", net_arch={"pi": [64, 64], "qf": [128, 128]}),
        "network critic, two": policy(critic="network", net_arch={"pi": [64, 64], "qf": [128, 128]}, n_critics=2),
        "rectifiers": policy(activation_fn=nn.ReLU),
        "Adam's default betas": policy(optimizer_kwargs={}),
        "learning rate to 2%": {
            "learning_rate": LinearSchedule(models.LEARNING_RATE, 0.02 * models.LEARNING_RATE, 1.0)
        },
        "batches of 256": {"batch_size": 256},
        "actor every second step": {"policy_delay": 2},
        "keep 12,000 transitions": {"buffer_size": 12_000},
        "keep all transitions": {"buffer_size": 1_000_000},
        "no action noise": {"action_noise": None},
        "n_steps=3": {"n_steps": 3},
        "paper's base N(0, I), 4 steps": policy(base="standard", ode_steps=4, log_std_init=-1.4),
        "proposals from the policy alone": {"sampling_distribution": "policy"},
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alpha", type=float, default=0.5, help="temperature")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--only", nargs="+", default=None, help="names of the variants to run; default all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    problem = preset()
    for name, overrides in variants().items():
        if arguments.only and name not in arguments.only:
            continue
        model = models.lqr_model(problem, arguments.alpha, arguments.seed, **overrides)
        model.learn(training.TIMESTEPS)
        found = evaluate_policy_on_lqr(
            LearntPolicy(model), problem.solve(arguments.alpha), training.FINAL_EVALUATION
        ).metrics()
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
