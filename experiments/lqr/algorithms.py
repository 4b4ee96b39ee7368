"""What the case study compares: FlowSAC with the study's settings and with its defaults, and Gaussian SACs."""

from typing import Any

from stable_baselines3 import SAC

from experiments.lqr.sac import TUNED_SAC_SETTINGS, default_sac_model, tuned_sac_model
from maxent_envs import LQRProblem
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.lqr_study.models import FLOWSAC, Algorithm, training_env


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


FLOWSAC_DEFAULT = Algorithm("flowsac-default", default_model, FlowSAC, {})
SAC_TUNED = Algorithm("sac-tuned", tuned_sac_model, SAC, TUNED_SAC_SETTINGS)
SAC_DEFAULT = Algorithm("sac-default", default_sac_model, SAC, {})
ALGORITHMS = (FLOWSAC, FLOWSAC_DEFAULT, SAC_TUNED, SAC_DEFAULT)
