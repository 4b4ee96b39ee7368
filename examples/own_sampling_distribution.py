"""Proposals of your own for ISFM: actions of a rule that you know, in a mixture with the policy's own."""

import argparse

import torch
from torch.distributions import Independent, Normal

from sb3_flowsac import FlowSAC
from sb3_flowsac.isfm import CurrentPolicy, Improvement, Mixture, Proposal, SamplingDistribution, UniformBox


class AroundTheBounds(SamplingDistribution):
    """Full torque to either side, which a pendulum that swings up often needs: two Gaussians in latents, before the
    tanh."""

    def given(self, improvement: Improvement, n: int) -> Proposal:
        return _TwoSides(improvement.policy.base.loc, n)


class _TwoSides(Proposal):
    def __init__(self, like: torch.Tensor, n: int) -> None:
        self.batch, self.dim = like.shape
        self.n = n
        self.sides = [Independent(Normal(like.new_full((self.dim,), side), 0.5), 1) for side in (-1.5, 1.5)]

    def sample_with_log_prob(self) -> tuple[torch.Tensor, torch.Tensor]:
        draws = torch.stack([side.sample((self.batch, self.n)) for side in self.sides])
        chosen = torch.randint(2, (self.batch, self.n, 1), device=draws.device)
        latents = torch.where(chosen == 0, draws[0], draws[1])
        return latents, self.log_prob(latents)

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.stack([side.log_prob(latents) for side in self.sides]).logsumexp(0) - torch.log(torch.tensor(2.0))


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=5_000, help="environment steps")
steps = parser.parse_args().steps

# Weights are those of the whole mixture; the uniform share covers the Box whatever the others miss
mixture = Mixture([CurrentPolicy(), AroundTheBounds(), UniformBox()], shares=[0.5, 0.375, 0.125])
model = FlowSAC("FlowPolicy", "Pendulum-v1", sampling_distribution=mixture, seed=0)
model.learn(steps)
print("effective share of the proposals (train/ess):", model.logger.name_to_value["train/ess"])
