"""
What the settings of the LQR study are worth: each changed on its own, errors against the optimum.

    python -m experiments.lqr.settings --alpha 0.5
"""

import copy
from typing import Any

from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from experiments.runner.options import command_line, run
from maxent_envs import preset
from sb3_flowsac.evaluation.lqr import evaluate_policy_on_lqr
from sb3_flowsac.evaluation.policies import LearntPolicy
from sb3_flowsac.lqr_study import models, training
from sb3_flowsac.lqr_study.tasks import Result, Task


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


def measure(variant: str, alpha: float, seed: int) -> Result:
    """Train with a variant's settings; errors of the learnt policy against the optimum."""
    problem = preset()
    model = models.lqr_model(problem, alpha, seed, **variants()[variant])
    model.learn(training.TIMESTEPS)
    return evaluate_policy_on_lqr(LearntPolicy(model), problem.solve(alpha), training.FINAL_EVALUATION).metrics()


def main() -> None:
    """Run the benchmark."""
    parser = command_line(__doc__, "lqr_settings")
    parser.add_argument("--alpha", type=float, default=0.5, help="temperature")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="random seeds")
    parser.add_argument("--only", nargs="+", choices=list(variants()), default=list(variants()), help="variants to run")
    options = parser.parse_args()
    tasks = [
        Task(
            f"{name}, seed {seed}",
            measure,
            {"variant": name, "alpha": options.alpha, "seed": seed},
            {"overrides": repr(variants()[name]), "alpha": options.alpha, "seed": seed},
        )
        for name in options.only
        for seed in options.seed
    ]
    for task, found in zip(tasks, run(tasks, options), strict=True):
        print(f"{task.name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))


if __name__ == "__main__":
    main()
