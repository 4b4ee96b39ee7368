"""Schedules of the learning rate, beside those of ``stable_baselines3.common.utils``."""

from dataclasses import dataclass

from sb3_flowsac.checks import number


@dataclass(frozen=True)
class HoldThenLinearSchedule:
    """
    A value that stays for a part of the run and then falls along a line to 0.

    :param value: the value at the start, at least 0
    :param hold_fraction: part of the run during which it stays, from 0 to 1
    :raises ValueError: if an argument is out of range
    """

    value: float
    hold_fraction: float = 0.8

    def __post_init__(self) -> None:
        number("value", self.value, 0.0)
        number("hold_fraction", self.hold_fraction, 0.0, 1.0)

    def __call__(self, progress_remaining: float) -> float:
        """
        The value at a point of the run.

        :param progress_remaining: from 1 at the start to 0 at the end; a last step of many environments may exceed it
        """
        left, fall = max(0.0, progress_remaining), 1.0 - self.hold_fraction
        return self.value if left >= fall else self.value * left / fall
