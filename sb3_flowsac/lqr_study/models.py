"""What the LQR study trains: FlowSAC with the study's settings, and others to compare with, on MaxEntLQR-v0."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from maxent_envs import LQRProblem, derived_action_bound
from maxent_envs.lqr.bounds import SPREAD_MULTIPLE
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.isfm import CurrentPolicy, Mixture, NewtonGaussian
from sb3_flowsac.lqr_study.field import StandardizedField
from sb3_flowsac.lqr_study.sac import TUNED_SAC_SETTINGS, default_sac_model, tuned_sac_model

N_ENVS = 8
# Rules that make a problem's settings, see docs/lqr.md. A spread is the largest standard deviation of an optimal input
BOX_SPREADS = 1024.0  # half the width of the Box: the optimum has no Box, so it should never matter
NOISE_SPREADS = 4.0  # of the exploration: tells the state's part of the quadratic form from the action's
EPISODE_STEPS = 20  # at most
LARGEST_GROWTH = 10.0  # of a state in an episode without control
WARM_UP_SHARE = 5  # transitions for each entry of the quadratic form, before learning starts
BATCH_SHARE = 4  # transitions of a batch for each entry
LEARNING_RATE = 0.5  # of natural gradients: the share of the way to the weighted fit
FLOW_SETTINGS: dict[str, Any] = {
    "learning_rate": LinearSchedule(LEARNING_RATE, 0.1 * LEARNING_RATE, 1.0),
    "train_freq": 2,
    "buffer_size": 10_000,  # forgets the states of the first policies; the critic's regression of next states does not
    "n_next_actions": 4,
    "actor_batch_size": 64,
    "policy_delay": 1,
    "actor_epochs": 1,
    "actor_tau": 1.0,
    # No uniform share: it would hardly ever meet a narrow target. Newton's step on a quadratic form needs no bound
    "sampling_distribution": Mixture([CurrentPolicy(), NewtonGaussian(max_move=math.inf)], [0.5, 0.5]),
    "policy_kwargs": {
        "net_arch": [],  # linear in the state
        "squash_output": False,  # the optimum is a Gaussian
        "critic": "quadratic",  # the exact shape of the problem's Q function
        "n_critics": 1,
        "base": "linear",
        "optimizer_class": torch.optim.SGD,  # of natural gradients
        "log_std_init": -math.log(BOX_SPREADS),  # one spread
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
    :param alpha: the temperature; the action Box is derived from it
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
        "batch_size": max(512, BATCH_SHARE * entries),
    }
    bound = BOX_SPREADS / SPREAD_MULTIPLE * derived_action_bound(problem, alpha)
    env = training_env(problem, alpha, seed, action_bound=bound.tolist(), max_episode_steps=episode_steps(problem))
    return GentleFlowSAC("FlowPolicy", env, **{**FLOW_SETTINGS, **of_problem, **overrides})


def default_model(problem: LQRProblem, alpha: float, seed: int, **overrides: Any) -> FlowSAC:
    """
    A FlowSAC model with its defaults and network critics, but for the problem's gamma and the fixed temperature, on one
    copy of MaxEntLQR-v0.

    :param problem: the problem to learn
    :param alpha: the temperature; the action Box is derived from it
    :param seed: seed of model and environment
    :param overrides: arguments of FlowSAC that replace its defaults
    :return: the model, not yet trained
    """
    env = training_env(problem, alpha, seed, n_envs=1)
    return FlowSAC("FlowPolicy", env, **{"gamma": problem.gamma, "ent_coef": alpha, "seed": seed, **overrides})


def training_env(problem: LQRProblem, alpha: float, seed: int, n_envs: int = N_ENVS, **kwargs: Any) -> VecEnv:
    """
    Copies of MaxEntLQR-v0.

    :param problem: the problem
    :param alpha: the temperature that the action Box is derived from
    :param seed: seed of the environments
    :param n_envs: number of copies
    :param kwargs: further arguments of ``gym.make``
    """
    return make_vec_env(
        "MaxEntLQR-v0", n_envs=n_envs, seed=seed, env_kwargs={**problem.to_dict(), "alpha": alpha, **kwargs}
    )


def episode_steps(problem: LQRProblem) -> int:
    """
    Length of the training episodes: at most ``EPISODE_STEPS``, and so short that without control no mode of the system
    grows more than ``LARGEST_GROWTH`` times.

    :param problem: the problem
    """
    radius = float(np.abs(np.linalg.eigvals(problem.A)).max())
    steps = EPISODE_STEPS if radius <= 1.0 else math.log(LARGEST_GROWTH) / math.log(radius)
    return int(np.clip(steps, 1, EPISODE_STEPS))


@dataclass(frozen=True)
class Algorithm:
    """
    What a run of the study can train.

    :param make: makes a model of a problem, a temperature, a seed and keyword arguments of its class
    :param model_class: class of the model, which loads what it has saved
    :param settings: arguments in which the study departs from the defaults
    """

    make: Callable[..., FlowSAC | SAC]
    model_class: type[FlowSAC | SAC]
    settings: dict[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """All of the study's settings that its runs may depend on, in JSON's terms."""
        common = {
            "n_envs": N_ENVS,
            "box_spreads": BOX_SPREADS,
            "noise_spreads": NOISE_SPREADS,
            "episode": [EPISODE_STEPS, LARGEST_GROWTH],
            "shares": [WARM_UP_SHARE, BATCH_SHARE],
        }
        identity: dict[str, Any] = json.loads(json.dumps({**common, **self.settings}, default=repr))
        return identity


ALGORITHMS = {
    "flowsac": Algorithm(lqr_model, FlowSAC, FLOW_SETTINGS),
    "flowsac-default": Algorithm(default_model, FlowSAC, {}),
    "sac-tuned": Algorithm(tuned_sac_model, SAC, TUNED_SAC_SETTINGS),
    "sac-default": Algorithm(default_sac_model, SAC, {}),
}
