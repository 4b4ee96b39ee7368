"""The settings of a run in TensorBoard's HParams tab."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam
from stable_baselines3.common.type_aliases import TrainFreq

from sb3_flowsac.callbacks.formats import TEXT_FORMATS

Value = bool | str | float | None
# Arguments that say where a run is and what it prints, not how it learns
LEFT_OUT = {"self", "policy", "env", "policy_kwargs", "tensorboard_log", "verbose", "device", "_init_setup_model"}


class HParamsCallback(BaseCallback):
    """
    Log the model's arguments when training starts, for TensorBoard's HParams tab, where runs are compared by them.

    Numbers, texts and truth values are logged as they are, ``policy_kwargs`` under their own names, all else as text.

    :param metrics: keys of the log that the tab shows beside them, such as "eval/mean_reward" or "lqr/cov_error"
    :param verbose: verbosity level
    :raises ValueError: if there is no metric
    """

    def __init__(self, metrics: Sequence[str] = ("rollout/ep_rew_mean", "train/ess"), verbose: int = 0) -> None:
        super().__init__(verbose)
        if isinstance(metrics, str) or not metrics:
            raise ValueError(f"metrics must be a list of one key of the log or more, got {metrics!r}")
        self.metrics = tuple(metrics)

    def _on_training_start(self) -> None:
        # The zeros only name the metrics: the tab reads their values from the scalars of the same names
        hparams = HParam(hyperparameters(self.model), dict.fromkeys(self.metrics, 0.0))
        self.logger.record("hparams", hparams, exclude=TEXT_FORMATS)  # written with the first line of the log

    def _on_step(self) -> bool:
        return True


def hyperparameters(model: Any) -> dict[str, Value]:
    """
    The arguments of a model's constructor, as it has them now, and those of its policy.

    :param model: a model of Stable-Baselines3
    :return: values by name, "algorithm" and "policy" first
    """
    found: dict[str, Any] = {"algorithm": type(model).__name__, "policy": model.policy_class.__name__}
    names = [name for name in inspect.signature(type(model).__init__).parameters if name not in LEFT_OUT]
    for name in names:
        attribute = name if hasattr(model, name) else f"_{name}"  # SB3 keeps stats_window_size under that
        if hasattr(model, attribute):
            found[name] = getattr(model, attribute)
    return {name: _value(value) for name, value in [*found.items(), *_flat("policy_kwargs", model.policy_kwargs or {})]}


def _flat(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f"{prefix}.{name}", value) for name, value in values.items()]


def _value(value: Any) -> Value:
    if value is None or isinstance(value, bool | str | int | float):
        return value
    if isinstance(value, TrainFreq):
        return f"{value.frequency} {value.unit.value}"
    text = getattr(value, "__name__", None) or str(value)
    return type(value).__name__ if " at 0x" in text else text  # not where in memory it is
