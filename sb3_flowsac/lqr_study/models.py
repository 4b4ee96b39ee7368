"""The models that the LQR study trains: FlowSAC, and SB3's SAC with its Gaussian policy, on the same environments."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from maxent_envs import LQRProblem
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.algorithm.critics import QuadraticCritic

N_ENVS = 8
EPISODE_STEPS = (
    10  # short: uniform warm-up actions do not throw an unstable system far, and states near x_0 are seen often
)
LEARNING_RATE = 2e-3
ACTION_NOISE = 0.2  # in scaled actions: lets the critic tell the state's part of its quadratic form from the action's
LOG_STD_INIT = -1.4
# What FlowSAC and the tuned SAC have in common; gamma is the problem's and ent_coef the run's
COMMON_SETTINGS: dict[str, Any] = {
    "learning_rate": LinearSchedule(LEARNING_RATE, 1e-3 * LEARNING_RATE, 1.0),  # the last noise of the weights dies out
    "learning_starts": 25 * N_ENVS,
    "batch_size": 512,
    "buffer_size": 24_000,  # forgets the first policies, whose large states would dominate the critic's error
    "tau": 0.05,
}
COMMON_POLICY_KWARGS: dict[str, Any] = {
    "net_arch": [64, 64],
    "activation_fn": nn.SiLU,  # the optimum is linear in the state, which rectifiers only approach in pieces
    "n_critics": 1,  # a minimum of two biases the covariance
    "optimizer_kwargs": {"betas": (0.9, 0.99)},  # recovers sooner from the first, large errors
}
FLOW_SETTINGS: dict[str, Any] = {
    **COMMON_SETTINGS,
    "n_next_actions": 4,
    "actor_batch_size": 128,
    "policy_delay": 1,
    "actor_epochs": 1,
    "actor_tau": 1.0,  # the decay of the learning rate averages already
    "sampling_distribution": "defensive",  # the paper's, with a share that finds back into the Box
    "policy_kwargs": {
        **COMMON_POLICY_KWARGS,
        "squash_output": False,  # the optimum is a Gaussian
        "critic": "quadratic",  # the exact shape of the problem's Q function
        "ode_steps": 2,
        "density": "trace",
        "log_std_init": LOG_STD_INIT,
    },
}
TUNED_SAC_SETTINGS: dict[str, Any] = {**COMMON_SETTINGS, "policy_kwargs": COMMON_POLICY_KWARGS}


class QuadraticSACCritic(QuadraticCritic):
    """A ``QuadraticCritic`` that answers as SAC's critic does."""

    def forward(self, obs: PyTorchObs, actions: torch.Tensor) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        """One tensor (batch, 1) of Q values for each critic."""
        return super().forward(obs, actions).unsqueeze(-1).unbind(0)


class QuadraticSACPolicy(SACPolicy):
    """SAC's policy, a squashed Gaussian with a diagonal covariance, with the critic that FlowSAC has in the study."""

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """
        New critics.

        :param features_extractor: the extractor to share; default a new one
        """
        network = ("net_arch", "activation_fn")
        kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        kwargs = {key: value for key, value in kwargs.items() if key not in network}
        return QuadraticSACCritic(**kwargs, action_unit=float(np.exp(LOG_STD_INIT))).to(self.device)


def lqr_model(problem: LQRProblem, alpha: float, seed: int, **overrides: Any) -> FlowSAC:
    """
    A FlowSAC model with the study's settings, on eight copies of MaxEntLQR-v0.

    :param problem: the problem to learn
    :param alpha: the temperature; the action Box is derived from it
    :param seed: seed of model and environments
    :param overrides: arguments of FlowSAC that replace or extend the study's
    :return: the model, not yet trained
    """
    env = training_env(problem, alpha, seed)
    return FlowSAC("FlowPolicy", env, **{**FLOW_SETTINGS, **_of_run(problem, alpha, seed), **overrides})


def tuned_sac_model(problem: LQRProblem, alpha: float, seed: int, **overrides: Any) -> SAC:
    """
    SB3's SAC with FlowSAC's settings, exploration and critic: what is left to differ is the policy and its improvement.

    :param problem: the problem to learn
    :param alpha: the temperature; the action Box is derived from it
    :param seed: seed of model and environments
    :param overrides: arguments of SAC that replace or extend the study's
    :return: the model, not yet trained
    """
    env = training_env(problem, alpha, seed)
    return SAC(QuadraticSACPolicy, env, **{**TUNED_SAC_SETTINGS, **_of_run(problem, alpha, seed), **overrides})


def default_sac_model(problem: LQRProblem, alpha: float, seed: int, **overrides: Any) -> SAC:
    """
    SB3's SAC with its defaults, but for the problem's gamma and the fixed temperature.

    :param problem: the problem to learn
    :param alpha: the temperature; the action Box is derived from it
    :param seed: seed of model and environments
    :param overrides: arguments of SAC that replace its defaults
    :return: the model, not yet trained
    """
    env = training_env(problem, alpha, seed)
    return SAC("MlpPolicy", env, **{"gamma": problem.gamma, "ent_coef": alpha, "seed": seed, **overrides})


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
            "episode_steps": EPISODE_STEPS,
            "action_noise": ACTION_NOISE,
            "log_std_init": LOG_STD_INIT,
        }
        identity: dict[str, Any] = json.loads(json.dumps({**common, **self.settings}, default=repr))
        return identity


ALGORITHMS = {
    "flowsac": Algorithm(lqr_model, FlowSAC, FLOW_SETTINGS),
    "sac-tuned": Algorithm(tuned_sac_model, SAC, TUNED_SAC_SETTINGS),
    "sac-default": Algorithm(default_sac_model, SAC, {}),
}


def training_env(problem: LQRProblem, alpha: float, seed: int) -> VecEnv:
    """
    Eight copies of MaxEntLQR-v0 with short episodes.

    :param problem: the problem
    :param alpha: the temperature that the action Box is derived from
    :param seed: seed of the environments
    """
    env_kwargs = {**problem.to_dict(), "alpha": alpha, "max_episode_steps": EPISODE_STEPS}
    return make_vec_env("MaxEntLQR-v0", n_envs=N_ENVS, seed=seed, env_kwargs=env_kwargs)


def _of_run(problem: LQRProblem, alpha: float, seed: int) -> dict[str, Any]:
    noise = NormalActionNoise(np.zeros(problem.n_inputs), np.full(problem.n_inputs, ACTION_NOISE))
    return {"gamma": problem.gamma, "ent_coef": alpha, "action_noise": noise, "seed": seed}
