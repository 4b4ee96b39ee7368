"""What the case study compares: FlowSAC with the study's settings and with its defaults, and Gaussian SACs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env

from experiments.lqr.sac import TUNED_SAC_SETTINGS, tuned_sac_model
from experiments.runner.tasks import Result, Task
from maxent_envs import LQRProblem
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.lqr_study import models
from sb3_flowsac.lqr_study.training import RunSpec


@dataclass(frozen=True)
class Algorithm:
    """
    What a run of the study can train.

    :param name: its name in files and tables
    :param make: makes a model of a problem, a temperature, a seed and keyword arguments of its class
    :param model_class: class of the model, which loads what it has saved
    :param settings: what its runs depend on besides defaults
    """

    name: str
    make: Callable[..., FlowSAC | SAC]
    model_class: type[FlowSAC | SAC]
    settings: dict[str, Any]

    @property
    def identity(self) -> dict[str, Any]:
        """The settings in JSON's terms: of a class its name, of another object its class and attributes."""
        identity: dict[str, Any] = json.loads(json.dumps(self.settings, default=_in_words))
        return identity


def _in_words(value: object) -> object:
    return value.__name__ if isinstance(value, type) else {type(value).__name__: vars(value)}


def run_task(name: str, function: Callable[..., Result], spec: RunSpec) -> Task:
    """
    A task of one run of the study.

    :param name: see ``Task``
    :param function: what to do, of an argument ``spec``
    :param spec: the run
    """
    settings = {**spec.settings, "model": ALGORITHMS[spec.algorithm].identity}
    return Task(name, function, {"spec": spec}, settings)


def default_model(
    problem: LQRProblem, alpha: float, seed: int, model_class: type[FlowSAC | SAC] = FlowSAC, **overrides: Any
) -> FlowSAC | SAC:
    """
    A model with the defaults of its class and network critics, but for the problem's gamma and the fixed temperature,
    on one copy of MaxEntLQR-v0.

    :param problem: the problem to learn
    :param alpha: the temperature; the action Box is derived from it
    :param seed: seed of model and environment
    :param model_class: FlowSAC or SAC
    :param overrides: arguments of the class that replace its defaults
    :return: the model, not yet trained
    """
    env = make_vec_env("MaxEntLQR-v0", seed=seed, env_kwargs={**problem.to_dict(), "alpha": alpha})
    return model_class("MlpPolicy", env, **{"gamma": problem.gamma, "ent_coef": alpha, "seed": seed, **overrides})


RULES = {name: value for name, value in vars(models).items() if name.isupper() and isinstance(value, int | float)}
FLOWSAC = Algorithm("flowsac", models.lqr_model, FlowSAC, {**RULES, **models.FLOW_SETTINGS})
FLOWSAC_DEFAULT = Algorithm("flowsac-default", default_model, FlowSAC, {})
SAC_TUNED = Algorithm("sac-tuned", tuned_sac_model, SAC, TUNED_SAC_SETTINGS)
# What network critics need on an LQR: no batch statistics
NETWORK = {"policy_kwargs": {"critic": "network"}}
FLOWSAC_NETWORK = Algorithm("flowsac-network", partial(default_model, **NETWORK), FlowSAC, NETWORK)
SAC_DEFAULT = Algorithm("sac-default", partial(default_model, model_class=SAC), SAC, {})
OF_CASE_STUDY = (FLOWSAC, FLOWSAC_DEFAULT, SAC_TUNED, SAC_DEFAULT)
ALGORITHMS = {algorithm.name: algorithm for algorithm in (*OF_CASE_STUDY, FLOWSAC_NETWORK)}
