"""SB3's SAC on MaxEntLQR-v0 with settings and a critic for the problem, to compare with."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from maxent_envs import LQRProblem

N_ENVS = 8
EPISODE_STEPS = 10
ACTION_UNIT = float(np.exp(-1.4))  # spread of the actions in scaled units, in which the critic measures them
ACTION_NOISE = 0.2  # in scaled actions
TUNED_SAC_SETTINGS: dict[str, Any] = {
    "learning_rate": LinearSchedule(2e-3, 2e-6, 1.0),
    "learning_starts": 200,
    "batch_size": 512,
    "buffer_size": 24_000,
    "tau": 0.05,
    "policy_kwargs": {
        "net_arch": [64, 64],
        "activation_fn": nn.SiLU,
        "n_critics": 1,
        "optimizer_kwargs": {"betas": (0.9, 0.99)},
    },
}


class QuadraticSACCritic(BaseModel):
    """
    A quadratic form in state and action that answers as SAC's critic does and learns by its optimizer.

    Adam moves a parameter by about the learning rate, whatever its scale. So the entries are learnt divided by
    ``FORM_SCALE`` and ``CONSTANT_SCALE``, which suit the default system.

    :param observation_space: observation space
    :param action_space: action space
    :param features_extractor: the extractor, without parameters
    :param features_dim: number of features
    :param normalize_images: part of SAC's arguments
    :param kwargs: SAC's arguments of networks, not used
    """

    features_extractor: BaseFeaturesExtractor
    optimizer: torch.optim.Optimizer
    FORM_SCALE, CONSTANT_SCALE = 10.0, 100.0

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        normalize_images: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            observation_space, action_space, features_extractor=features_extractor, normalize_images=normalize_images
        )
        size = features_dim + get_action_dim(action_space)
        self.form = nn.Parameter(torch.zeros(size, size))
        self.constant = nn.Parameter(torch.zeros(()))

    def forward(self, obs: PyTorchObs, actions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One tensor (batch, 1) of Q values."""
        z = torch.cat([self.extract_features(obs, self.features_extractor), actions / ACTION_UNIT], dim=-1)
        values = self.FORM_SCALE * ((z @ self.form) * z).sum(-1, keepdim=True) + self.CONSTANT_SCALE * self.constant
        return (values,)


class QuadraticSACPolicy(SACPolicy):
    """SAC's policy, a squashed Gaussian with a diagonal covariance, with a quadratic critic."""

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """
        New critics.

        :param features_extractor: the extractor to share; default a new one
        """
        kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return QuadraticSACCritic(**kwargs).to(self.device)


def tuned_sac_model(problem: LQRProblem, alpha: float, seed: int, **overrides: Any) -> SAC:
    """
    SB3's SAC with settings and a critic that suit the default system: what is left to differ is the policy.

    :param problem: the problem to learn
    :param alpha: the temperature; the action Box is derived from it
    :param seed: seed of model and environments
    :param overrides: arguments of SAC that replace or extend these
    :return: the model, not yet trained
    """
    noise = NormalActionNoise(np.zeros(problem.n_inputs), np.full(problem.n_inputs, ACTION_NOISE))
    of_run = {"gamma": problem.gamma, "ent_coef": alpha, "seed": seed, "action_noise": noise}
    of_env = {**problem.to_dict(), "alpha": alpha, "max_episode_steps": EPISODE_STEPS}
    env = make_vec_env("MaxEntLQR-v0", n_envs=N_ENVS, seed=seed, env_kwargs=of_env)
    return SAC(QuadraticSACPolicy, env, **{**TUNED_SAC_SETTINGS, **of_run, **overrides})
