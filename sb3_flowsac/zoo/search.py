"""A hyperparameter search: what it tries, and where it starts."""

import inspect
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sb3_flowsac import FlowSAC
from sb3_flowsac.flow import make_flow

# Names and values as a study keeps them: a pair is a range, searched on a logarithmic scale. Those of SAC's search in
# the Zoo where both have the setting
SPACE: dict[str, tuple[float, float] | list[Any]] = {
    "learning_rate": (1e-4, 3e-3),
    "one_minus_gamma": (1e-4, 0.03),
    "batch_size": [128, 256, 512],
    "policy_delay": [2, 3, 6],
    "n_proposals": [8, 16, 32],
    "sampling_distribution": ["newton", "defensive", "policy"],
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
    :return: keys of ``SPACE``
    """
    policy = settings.get("policy_kwargs", {})
    fixed = set(settings) - set(IN_POLICY_KWARGS) | set(IN_POLICY_KWARGS if policy is None else policy)
    if "gamma" in settings:
        fixed.add("one_minus_gamma")
    return [name for name in SPACE if name not in fixed]


def sample_flowsac_params(trial: optuna.Trial, *_: Any, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """
    A sampler in the form of the Zoo's own. What the settings fix is neither searched nor changed.

    :param trial: the trial
    :param settings: the settings that the trial starts from; by default the names that the Zoo has noted in the study
    :return: arguments of FlowSAC that replace those of the settings
    """
    settings = dict.fromkeys(trial.study.user_attrs) if settings is None else settings
    params: dict[str, Any] = {}
    for name in searched(settings):
        if isinstance(values := SPACE[name], tuple):
            params[name] = trial.suggest_float(name, *values, log=True)
        else:
            params[name] = trial.suggest_categorical(name, values)
    return convert_flowsac_params(params, settings)


def convert_flowsac_params(sampled_params: dict[str, Any], settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """
    Arguments of FlowSAC from what a study keeps of a trial.

    :param sampled_params: the trial's parameters
    :param settings: the settings that they replace; the Zoo replaces ``policy_kwargs`` whole, so its other keys are
        repeated
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


def prepare_study(storage: str, study_name: str | None, names: Iterable[str]) -> str:
    """
    Make or open a study, and let FlowSAC's defaults, at a constant learning rate, be its first trial.

    :param storage: the Zoo's ``--storage``: a database's URL, or the name of a journal, which ends in ".log"
    :param study_name: name of the study, by default a new one
    :param names: what is searched, keys of ``SPACE``
    :return: name of the study
    """
    opened = JournalStorage(JournalFileBackend(storage)) if storage.endswith(".log") else storage
    create = partial(optuna.create_study, storage=opened, study_name=study_name, direction="maximize")
    try:
        study = create(load_if_exists=True)
    except sqlalchemy.exc.DatabaseError:  # of two processes that make the same tables one fails
        time.sleep(2.0)
        study = create(load_if_exists=True)
    arguments = {**inspect.signature(make_flow).parameters, **inspect.signature(FlowSAC).parameters}
    defaults = {
        "learning_rate": arguments["learning_rate"].default.value,  # the Zoo's numbers are constant rates
        "one_minus_gamma": 1 - arguments["gamma"].default,
        "net_arch": "medium",
    }
    study.enqueue_trial({name: defaults.get(name) or arguments[name].default for name in names}, skip_if_exists=True)
    return str(study.study_name)
