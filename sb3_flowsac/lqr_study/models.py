"""What the LQR study trains: FlowSAC with the study's settings, on MaxEntLQR-v0."""

import math
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule

from maxent_envs import LQRProblem, derived_action_bound
from maxent_envs.lqr.bounds import SPREAD_MULTIPLE, optimal_spread
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.isfm import CurrentPolicy, Mixture, NewtonGaussian
from sb3_flowsac.lqr_study.field import StandardizedField

N_ENVS = 8
# Rules that make a problem's settings, see docs/lqr.md. A spread is the largest standard deviation of an optimal input
BOX_SPREADS = 4096.0  # half the width of the Box: the optimum has no Box, so it should never matter
FIRST_SPREADS = 4.0  # standard deviation of the first policy
NOISE_SPREADS = 32.0  # of the exploration: process noise hides less of what states and actions do
EPISODE_STEPS = 100  # at most
BOX_MARGIN = 8.0  # standard deviations of the optimal input that the Box holds in an episode without control
WARM_UP_SHARE = 5  # transitions for each entry of the quadratic form, before learning starts
BATCH_SHARE = 4  # transitions of a batch for each entry
FLOW_SETTINGS: dict[str, Any] = {
    # Of natural gradients: the share of the way to the weighted fit. At first the policy has to follow the values,
    # which move a tenth of their way in each step; near the optimum they hardly depend on it, and it averages fits
    "learning_rate": LinearSchedule(0.5, 0.05, 1.0),
    "train_freq": 4,
    "gradient_steps": 1,
    "buffer_size": 10_000,  # forgets the first policies' states, the critic's regression of next states does not
    "n_next_actions": 4,
    "n_proposals": 16,
    "actor_batch_size": 256,
    "policy_delay": 1,
    "actor_loss": "isfm",
    "min_effective_proposals": 1.0,
    # No uniform share: it would hardly ever meet a narrow target. Newton's step on a quadratic form needs no bound
    "sampling_distribution": Mixture([CurrentPolicy(), NewtonGaussian(max_move=math.inf)], [0.5, 0.5]),
    "policy_kwargs": {
        "net_arch": [],  # linear in the state
        "squash_output": False,  # the optimum is a Gaussian
        "critic": "quadratic",  # the exact shape of the problem's Q function
        "n_critics": 1,
        "base": "linear",
        "optimizer_class": torch.optim.SGD,  # of natural gradients
        "log_std_init": math.log(FIRST_SPREADS / BOX_SPREADS),
        "field": StandardizedField,
        "field_kwargs": {"units": 4},
        "ode_steps": 2,
        "density": "trace",
    },
}


class GentleFlowSAC(FlowSAC):
    """FlowSAC that warms up with its first policy and its exploration noise, not with actions from the whole Box."""

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        return super()._sample_action(0, action_noise, n_envs)


def lqr_model(problem: LQRProblem, alpha: float, seed: int, **overrides: Any) -> FlowSAC:
    """
    A FlowSAC model with the study's settings, on eight copies of MaxEntLQR-v0.

    :param problem: the problem to learn
    :param alpha: the temperature; the action Box is made from it
    :param seed: seed of model and environments
    :param overrides: arguments of FlowSAC that replace or extend the study's
    :return: the model, not yet trained
    """
    m, size = problem.n_inputs, problem.n_states + problem.n_inputs
    entries = size * (size + 1) // 2 + 1
    noise = NormalActionNoise(np.zeros(m), np.full(m, NOISE_SPREADS / BOX_SPREADS))
    of_problem = {
        "gamma": problem.gamma,
        "ent_coef": alpha,
        "seed": seed,
        "action_noise": noise,
        "learning_starts": max(200, WARM_UP_SHARE * entries),
        "batch_size": max(1024, BATCH_SHARE * entries),
    }
    of_env = {
        **problem.to_dict(),
        "alpha": alpha,
        "action_bound": action_bound(problem, alpha),
        "max_episode_steps": episode_steps(problem, alpha),
    }
    env = make_vec_env("MaxEntLQR-v0", n_envs=N_ENVS, seed=seed, env_kwargs=of_env)
    return GentleFlowSAC("FlowPolicy", env, **{**FLOW_SETTINGS, **of_problem, **overrides})


def action_bound(problem: LQRProblem, alpha: float) -> list[float]:
    """Bounds of the study's action Box, ``BOX_SPREADS`` standard deviations of the optimal inputs."""
    bounds: list[float] = (BOX_SPREADS / SPREAD_MULTIPLE * derived_action_bound(problem, alpha)).tolist()
    return bounds


def episode_steps(problem: LQRProblem, alpha: float) -> int:
    """
    Length of the training episodes: at most ``EPISODE_STEPS``, and so short that the optimal inputs in states where
    exploration without control may lead stay within the Box, ``BOX_MARGIN`` standard deviations of them.
    """
    spread, K = optimal_spread(problem, alpha), problem.solve(alpha).K
    noise = problem.noise_cov + problem.B @ np.diag((NOISE_SPREADS * spread) ** 2) @ problem.B.T
    moment = problem.initial_cov
    for step in range(1, EPISODE_STEPS):
        moment = problem.A @ moment @ problem.A.T + noise
        if (BOX_MARGIN * np.sqrt(np.diag(K @ moment @ K.T)) > BOX_SPREADS * spread).any():
            return step
    return EPISODE_STEPS
