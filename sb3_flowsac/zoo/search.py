"""What a hyperparameter search tries: a sampler and a converter in the form of the Zoo's own, and where it starts."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from sb3_flowsac import FlowPolicy, FlowSAC
from sb3_flowsac.zoo.workers import WORKER, this_process

# Names and values as a study keeps them. Those of SAC's search in the Zoo where both have the setting
LOG_UNIFORM = {"learning_rate": (1e-4, 3e-3), "one_minus_gamma": (1e-4, 0.03), "tau": (1e-3, 0.08)}
CHOICES: dict[str, list[Any]] = {
    "batch_size": [128, 256, 512],
    "policy_delay": [4, 8, 16, 24],
    "n_proposals": [8, 16, 32],
    "sampling_distribution": ["newton", "guided", "defensive", "policy"],
    "ent_coef": ["auto", "auto_0.1", 0.2, 0.05, 0.01],
    "net_arch": ["small", "medium", "big"],
    "ode_steps": [2, 5, 8],
}
NET_ARCH = {"small": [64, 64], "medium": [256, 256], "big": [400, 300]}
IN_POLICY_KWARGS = ("net_arch", "ode_steps")


def searched(settings: Mapping[str, Any]) -> list[str]:
    """
    What a search tries: all that the settings leave open.

    :param settings: arguments of FlowSAC; ``policy_kwargs`` is a dictionary, or ``None`` if it is fixed and not known
    :return: keys of ``LOG_UNIFORM`` and ``CHOICES``
    """
    policy = settings.get("policy_kwargs", {})
    fixed = set(settings) - set(IN_POLICY_KWARGS) | set(IN_POLICY_KWARGS if policy is None else policy)
    if "gamma" in settings:
        fixed.add("one_minus_gamma")
    return [name for name in (*LOG_UNIFORM, *CHOICES) if name not in fixed]


def default_params(names: Sequence[str]) -> dict[str, Any]:
    """
    FlowSAC's defaults as a study keeps them.

    :param names: keys of ``LOG_UNIFORM`` and ``CHOICES``
    :return: a value of the search for each of them
    """
    arguments = {**inspect.signature(FlowPolicy).parameters, **inspect.signature(FlowSAC).parameters}
    of_study = {"one_minus_gamma": 1 - arguments["gamma"].default, "net_arch": "medium"}
    return {name: of_study[name] if name in of_study else arguments[name].default for name in names}


def study_from_defaults(create_study: Callable[..., optuna.Study], names: Sequence[str], **kwargs: Any) -> optuna.Study:
    """
    Make or open a study in which the defaults are tried first, so that what is found has something to be compared with.

    :param create_study: Optuna's function
    :param names: what is searched
    :param kwargs: arguments of ``create_study``
    :return: the study; the trial of the defaults waits in it unless it has begun and not failed
    """
    study = create_study(**kwargs)
    params = default_params(names)
    states = (TrialState.WAITING, TrialState.RUNNING, TrialState.PRUNED, TrialState.COMPLETE)
    if all(trial.system_attrs.get("fixed_params", trial.params) != params for trial in study.get_trials(states=states)):
        study.enqueue_trial(params)
    return study


def sample_flowsac_params(
    trial: optuna.Trial,
    n_actions: int,
    n_envs: int,
    additional_args: dict[str, Any],
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Sampler for FlowSAC hyperparams. What the settings fix is neither searched nor changed.

    :param trial: the trial
    :param n_actions: part of the Zoo's signature
    :param n_envs: part of the Zoo's signature
    :param additional_args: part of the Zoo's signature
    :param settings: the settings that the trial starts from; default what the Zoo has noted of them in the study, names
        alone
    :return: arguments of FlowSAC that go over the settings
    """
    trial.set_user_attr(WORKER, this_process())
    if settings is None:
        settings = dict.fromkeys(trial.study.user_attrs)
    params: dict[str, Any] = {}
    for name in searched(settings):
        if name in LOG_UNIFORM:
            params[name] = trial.suggest_float(name, *LOG_UNIFORM[name], log=True)
        else:
            params[name] = trial.suggest_categorical(name, CHOICES[name])
    if "one_minus_gamma" in params:
        trial.set_user_attr("gamma", 1 - params["one_minus_gamma"])
    return convert_flowsac_params(params, settings)


def convert_flowsac_params(sampled_params: dict[str, Any], settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """
    Arguments of FlowSAC from what a study keeps of a trial.

    :param sampled_params: the trial's parameters
    :param settings: the settings that they go over; the Zoo replaces ``policy_kwargs`` whole, so its other keys are
        repeated
    :return: arguments of FlowSAC
    """
    hyperparams = {name: value for name, value in sampled_params.items() if name not in IN_POLICY_KWARGS}
    if "one_minus_gamma" in hyperparams:
        hyperparams["gamma"] = 1 - hyperparams.pop("one_minus_gamma")
    policy = {name: sampled_params[name] for name in IN_POLICY_KWARGS if name in sampled_params}
    if "net_arch" in policy:
        policy["net_arch"] = NET_ARCH[policy["net_arch"]]
    if policy:
        hyperparams["policy_kwargs"] = {**((settings or {}).get("policy_kwargs") or {}), **policy}
    return hyperparams
