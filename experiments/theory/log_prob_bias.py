"""
How far the paper's trace integral (equation 6) is from the exact density of the samples, and how narrow the samples
are.

An actor is trained by flow matching on true samples of a target, a sharp Gaussian or four modes, with the default base
or the paper's N(0, I). At each stage of training the same weights are sampled with several solvers, numbers of steps
and time grids. For each the bias, mean of (trace - exact) log-density in nats over the samples, its spread, the share
of samples where the steps fold space over, and the standard deviation of the samples over that of many fine steps from
the same noise.

    python -m experiments.theory.log_prob_bias --out log_prob_bias.json    # about five minutes
"""

import argparse
import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from experiments.distributions.static_targets.fits import match_flow
from experiments.runner.tasks import write_json
from experiments.runner.versions import machine, versions
from maxent_envs import Target
from maxent_envs.targets import RotatingMixture, SharpGaussian
from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.actor import FlowActor
from sb3_flowsac.flow import SOLVERS, time_grid

TARGETS: dict[str, Target] = {
    "sharp 2-d Gaussian, std 0.07": SharpGaussian(2),
    "four modes, std 0.12": RotatingMixture(),
}
N_SAMPLES = 16
FINE = ("midpoint", 64, 1.0)
# Solver, number of steps, power of the time grid
SAMPLERS = [
    *[("midpoint", n, 1.0) for n in (1, 2, 4, 5, 8, 16)],
    *[("midpoint", n, 2.0) for n in (2, 4)],
    ("euler", 8, 1.0),
    ("heun", 4, 1.0),
    ("rk4", 2, 1.0),
]


def stages(target: Target, base: str, updates: list[int], seed: int) -> list[tuple[int, FlowActor]]:
    """The actor after each number of updates on true samples."""
    env = gym.make("BoltzmannBandit-v0", target=target)
    model = FlowSAC("FlowPolicy", env, ent_coef=0.1, seed=seed, actor_loss="isfm", policy_kwargs={"base": base})
    rng, kept = env.unwrapped.np_random, []
    for update in range(1, max(updates) + 1):
        states = target.sample_states(128, rng)
        actions = torch.as_tensor(target.sample(states, N_SAMPLES, rng), dtype=torch.float32)
        u, weights = model.actor.transform.inverse(actions), torch.full((128, N_SAMPLES), 1.0 / N_SAMPLES)
        match_flow(model, torch.as_tensor(states, dtype=torch.float32), u, weights)
        if update in updates:
            kept.append((update, copy.deepcopy(model.policy.actor)))
    return kept


@torch.no_grad()
def compare(actor: FlowActor, states: torch.Tensor, noise: torch.Tensor) -> list[dict[str, Any]]:
    """Trace integral against exact density of each sampler, from the same noise, and the spread against fine steps."""
    rows = []
    for sampler in [FINE, *SAMPLERS]:
        actor.flow.solver, actor.flow.grid = SOLVERS[sampler[0]], time_grid(*sampler[1:])
        rows.append({"sampler": sampler, **measure(actor, states, noise)})
    fine = rows[0]["std"]
    return [{**row, "std_ratio": row["std"] / fine} for row in rows]


def measure(actor: FlowActor, states: torch.Tensor, noise: torch.Tensor) -> dict[str, float]:
    """Bias of the trace integral and its spread, share of folded samples, and the samples' standard deviation."""
    policy = actor.distribution(states)
    latents, exact = policy.push_with_log_prob(noise, "exact")
    folded = policy.irregular_fraction.item()
    gap = policy.push_with_log_prob(noise, "trace")[1] - exact
    std = actor.transform(latents).var(1).mean().sqrt()
    return {"bias": gap.mean().item(), "spread": gap.std().item(), "folded": folded, "std": std.item()}


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
                states = torch.as_tensor(
                    target.sample_states(256, np.random.default_rng(arguments.seed)), dtype=torch.float32
                )
                noise = torch.randn(256, 64, target.action_dim, generator=torch.Generator().manual_seed(arguments.seed))
                print(f"{name}, base {base}, {update} updates")
                for row in compare(actor, states, noise):
                    rows.append({"target": name, "base": base, "updates": update, **row})
                    solver, n_steps, power = row["sampler"]
                    print(
                        f"  {solver:8s} {n_steps:2d} steps, grid power {power:g}: trace - exact {row['bias']:+.4f} +- "
                        f"{row['spread']:.4f} nats, folded {row['folded']:.2%}, std ratio {row['std_ratio']:.3f}",
                        flush=True,
                    )
    if arguments.out:
        write_json(arguments.out, {"seed": arguments.seed, "versions": versions(), "machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
