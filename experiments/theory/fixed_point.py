"""
Where ISFM comes to rest: the variance of a Gaussian policy whose target is a Gaussian, for each sampling distribution.

Self-normalised weights of few proposals are biased. The target is N(0, sigma^2 I), the policy N(0, r sigma^2 I); each
update replaces r by the weighted second moment of the proposals, averaged over many states. Printed are the r to which
this leads, 1 without bias, and the effective sample size there. "-" means that r grows without end: no fixed point.

    python -m experiments.theory.fixed_point                # about two minutes
    python -m experiments.theory.fixed_point --n 64 --dim 2
"""

import argparse
from pathlib import Path

import torch

from experiments.runner.tasks import write_json
from experiments.runner.versions import machine, versions
from sb3_flowsac.flow import FlowDistribution, Gaussian, Identity, make_flow
from sb3_flowsac.isfm import (
    Improvement,
    SamplingDistribution,
    effective_sample_size,
    get_sampling_distribution,
    self_normalize,
)
from sb3_flowsac.isfm.registry import SAMPLING_DISTRIBUTIONS

STD = 0.07
N_STATES = 4000
WARM_UP, AVERAGED = 12, 8  # updates
NO_FIXED_POINT = 4.0


def fixed_point(distribution: SamplingDistribution, dim: int, n_proposals: int) -> dict[str, float]:
    """The ratio of variances at which the updates rest, its standard error, and the effective sample size there."""
    flow = make_flow(1, dim, ode_steps=1)
    features, ratio, ratios, shares = torch.zeros(N_STATES, 1), 1.0, [], []
    for _ in range(WARM_UP + AVERAGED):
        scale = ratio**0.5 * STD * torch.eye(dim)
        base = Gaussian(torch.zeros(N_STATES, dim), scale.expand(N_STATES, dim, dim))
        policy = FlowDistribution(flow, base, flow.field(features))  # a field that has learnt nothing is zero
        improvement = Improvement(policy, Identity(), lambda actions: -0.5 * (actions / STD).square().sum(-1))
        latents, log_prob = distribution.given(improvement, n_proposals).sample_with_log_prob()
        weights = self_normalize(improvement.log_target(latents) - log_prob)
        ratios.append((weights * latents.square().sum(-1)).sum(-1).mean().item() / (dim * STD**2))
        shares.append(effective_sample_size(weights).mean().item() / n_proposals)
        ratio += 0.5 * (ratios[-1] - ratio)
        if ratio > NO_FIXED_POINT:
            return {"ratio": float("inf"), "standard_error": float("nan"), "ess": shares[-1]}
    last = torch.tensor(ratios[-AVERAGED:])
    return {"ratio": last.mean().item(), "standard_error": (last.std() / AVERAGED**0.5).item(), "ess": shares[-1]}


@torch.no_grad()
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", nargs="+", default=sorted(SAMPLING_DISTRIBUTIONS), help="sampling distributions")
    parser.add_argument("--dim", type=int, nargs="+", default=[1, 2, 6, 17], help="dimensions of the action")
    parser.add_argument("--n", type=int, nargs="+", default=[16], help="numbers of proposals")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    rows = []
    for name in arguments.name:
        for n_proposals in arguments.n:
            found = {dim: fixed_point(get_sampling_distribution(name), dim, n_proposals) for dim in arguments.dim}
            rows.append({"name": name, "n_proposals": n_proposals, "dims": found})
            cells = [
                f"{dim}-d {row['ratio']:.3f} +- {row['standard_error']:.3f} (ess {row['ess']:.2f})"
                if row["ratio"] < NO_FIXED_POINT
                else f"{dim}-d -"
                for dim, row in found.items()
            ]
            print(f"{name:10s} {n_proposals:3d} proposals: {', '.join(cells)}", flush=True)
    if arguments.out:
        write_json(arguments.out, {"seed": arguments.seed, "versions": versions(), "machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
