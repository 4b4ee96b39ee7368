"""
How far the paper's trace integral (equation 6) is from the exact density of the samples, and how narrow the samples are.

An actor is trained by flow matching on true samples of a target, a sharp Gaussian or four modes, with the default base or the
paper's N(0, I). At each stage of training the same weights are sampled with several solvers, numbers of steps and time
grids. For each the bias, mean of (trace - exact) log-density in nats over the samples, its spread, the share of samples where
the steps fold space over, and the standard deviation of the samples over the target's.

    python benchmarks/log_prob_bias.py --out log_prob_bias.json    # about five minutes
"""

import argparse
import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch

from maxent_envs import Target
from maxent_envs.targets import RotatingMixture, SharpGaussian
from sb3_flowsac import FlowSAC
from sb3_flowsac.flow import get_solver, time_grid
from sb3_flowsac.flowsac.actor import FlowActor
from sb3_flowsac.isfm import isfm_loss
from sb3_flowsac.studies.tasks import write_json
from sb3_flowsac.studies.versions import machine, versions

TARGETS: dict[str, Target] = {"sharp 2-d Gaussian, std 0.07": SharpGaussian(2), "four modes, std 0.12": RotatingMixture()}
N_SAMPLES = 16
# Solver, number of steps, power of the time grid
SAMPLERS = [
    *[("midpoint", n, 1.0) for n in (1, 2, 4, 8, 16)],
    *[("midpoint", n, 2.0) for n in (2, 4)],
    ("euler", 8, 1.0),
    ("heun", 4, 1.0),
    ("rk4", 2, 1.0),
]


def draw(target: Target, n: int, rng: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """States, and true samples in them."""
    states = target.sample_states(n, rng)
    samples = target.sample(states, N_SAMPLES, rng)
    return torch.as_tensor(states, dtype=torch.float32), torch.as_tensor(samples, dtype=torch.float32)


def stages(target: Target, base: str, updates: list[int], seed: int) -> list[tuple[int, FlowActor]]:
    """The averaged actor after each number of updates on true samples."""
    env = gym.make("BoltzmannBandit-v0", target=target)
    model = FlowSAC("FlowPolicy", env, ent_coef=0.1, seed=seed, policy_kwargs={"base": base}, policy_delay=1)
    rng, kept = env.unwrapped.np_random, []
    for update in range(1, max(updates) + 1):
        model._n_updates = update
        states, actions = draw(target, 128, rng)
        latents = model.actor.transform.inverse(actions)
        weights = torch.full(latents.shape[:2], 1.0 / N_SAMPLES)
        loss = isfm_loss(model.actor.distribution(states), latents, weights)
        model._optimize(model.actor.optimizer, loss.flow + loss.base)
        model._update_actor_average()
        if update in updates:
            kept.append((update, copy.deepcopy(model.policy.actor_average)))
    return kept


@torch.no_grad()
def compare(actor: FlowActor, target: Target, sampler: tuple[str, int, float], rng: Any) -> dict[str, float]:
    """Trace integral against exact density on one set of samples, and their spread against the target's."""
    solver, n_steps, power = sampler
    actor.flow.solver, actor.flow.grid = get_solver(solver), time_grid(n_steps, power)
    states, true = draw(target, 256, rng)
    policy = actor.distribution(states)
    noise = policy.noise(64)
    latents, exact = policy.push_with_log_prob(noise, "exact")
    folded = policy.irregular_fraction.item()
    gap = policy.push_with_log_prob(noise, "trace")[1] - exact
    actions = actor.transform(latents)
    std, true_std = (values.var(1).mean().sqrt() for values in (actions, true))
    return {
        "bias": gap.mean().item(),
        "spread": gap.std().item(),
        "folded": folded,
        "std_ratio": (std / true_std).item(),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, nargs="+", default=[200, 1500], help="stages of training")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, target in TARGETS.items():
        for base in ("gaussian", "standard"):
            for update, actor in stages(target, base, arguments.updates, arguments.seed):
                rng = gym.utils.seeding.np_random(arguments.seed)[0]
                for sampler in SAMPLERS:
                    found = compare(actor, target, sampler, rng)
                    rows.append({"target": name, "base": base, "updates": update, "sampler": sampler, **found})
                    print(
                        f"{name}, base {base}, {update} updates, {sampler[0]} {sampler[1]} steps, grid power {sampler[2]:g}: "
                        f"trace - exact {found['bias']:+.4f} +- {found['spread']:.4f} nats, folded {found['folded']:.2%}, "
                        f"std ratio {found['std_ratio']:.3f}",
                        flush=True,
                    )
    if arguments.out:
        write_json(arguments.out, {"seed": arguments.seed, "versions": versions(), "machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
