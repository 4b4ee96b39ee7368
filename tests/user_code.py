"""What a user writes, checked by mypy --strict (and by pyright): our names have types, and SB3's conventions keep
theirs."""

import math

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.callbacks import CallbackList, EvalCallback
from typing_extensions import assert_type

import maxent_envs
from sb3_flowsac import FlowPolicy, FlowSAC, load_policy, save_policy
from sb3_flowsac.callbacks import LQROptimalityCallback, ResumableCheckpoint
from sb3_flowsac.isfm import CurrentPolicy, Improvement, Mixture, Proposal, SamplingDistribution


class Centre(SamplingDistribution):
    """A sampling distribution of the user's own."""

    def given(self, improvement: Improvement, n: int) -> Proposal:
        """Draws around zero."""
        return CentreProposal(improvement.policy.base.loc, n)


class CentreProposal(Proposal):
    """Its draws in the states of a batch."""

    def __init__(self, like: torch.Tensor, n: int) -> None:
        self.zeros = like.new_zeros(len(like), n, like.shape[1])

    def sample_with_log_prob(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents and their log-density."""
        latents = torch.randn_like(self.zeros)
        return latents, self.log_prob(latents)

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        """Log-density of latents."""
        return -0.5 * (latents.square() + math.log(2.0 * math.pi)).sum(-1)


def train(folder: str) -> FlowSAC:
    """Train, save, load and go on."""
    model = FlowSAC(
        "FlowPolicy",
        "MaxEntLQR-v0",
        gamma=0.95,
        learning_rate=lambda progress: 1e-3 * progress,
        ent_coef="auto_0.1",
        sampling_distribution=Mixture([CurrentPolicy(), Centre()], shares=[0.5, 0.5]),
        policy_kwargs={"net_arch": [64, 64]},
        seed=0,
    )
    callbacks = CallbackList(
        [EvalCallback(gym.make("MaxEntLQR-v0")), LQROptimalityCallback(), ResumableCheckpoint(folder, 1000)]
    )
    assert_type(model.learn(1000, callback=callbacks), FlowSAC)
    model.save(folder)
    return assert_type(FlowSAC.load(folder, env=gym.make("MaxEntLQR-v0")), FlowSAC)


def ask(model: FlowSAC, observation: np.ndarray) -> float:
    """Samples, densities and entropy."""
    assert_type(model.policy, FlowPolicy)
    actions, log_prob = model.policy.sample(observation, n=10, generator=torch.Generator())
    assert_type(actions, torch.Tensor)
    assert_type(model.policy.log_prob(observation, actions), torch.Tensor)
    save_policy(model.policy, "policy")
    assert_type(load_policy("policy", device="cpu"), FlowPolicy)
    return float(log_prob.mean() + model.policy.entropy(observation).mean())


def optimum(alpha: float) -> np.ndarray:
    """A closed form."""
    solution = maxent_envs.preset("default").solve(alpha)
    assert_type(solution, maxent_envs.LQRSolution)
    return solution.mean(np.zeros(2))
