"""What a call of ``train`` logs: means over its gradient steps, and an end where they are not finite or diverge."""

import math
from collections import defaultdict
from itertools import islice

import torch
from torch import nn

from sb3_flowsac.algorithm.finite import REMEDY, DivergenceError, spoilt_parameters

# Largest mean |Q|. Single precision resolves values of this size to about 1e5: no reward that a task gives can be seen
# in them, and their squares are half of the way to overflow
MAX_VALUE = 1e12
# Largest mean |log pi|, in nats. One component of a squashed action has 16 more on the bound than in the middle of the
# box
MAX_LOG_PROB = 1e6


class Figures:
    """Scalars by name, which stay on their device until their means are asked for."""

    def __init__(self) -> None:
        self._values: dict[str, list[torch.Tensor]] = defaultdict(list)

    def add(self, **values: torch.Tensor) -> None:
        """
        Note the figures of a gradient step.

        :param values: tensors of one element
        """
        for name, value in values.items():
            self._values[name].append(value.detach())

    def means(self) -> dict[str, float]:
        """Means over the steps; the one place of a training call that waits for the device."""
        if not self._values:
            return {}
        everything = torch.stack([value.reshape(()) for values in self._values.values() for value in values])
        numbers = iter(everything.tolist())
        return {name: sum(islice(numbers, len(values))) / len(values) for name, values in self._values.items()}


def check_figures(figures: dict[str, float], policy: nn.Module, n_updates: int, timestep: int) -> None:
    """
    Refuse figures of training that are not finite, and critics or densities that diverge.

    :param figures: means over the gradient steps of a training call, among them ``q_value`` and ``log_prob``
    :param policy: actor and critics, whose parameters are searched if a figure is not finite
    :param n_updates: number of gradient steps so far
    :param timestep: number of environment steps so far
    :raises DivergenceError: with the figure's name and the step
    """
    when = f"at gradient step {n_updates} (environment step {timestep})"
    for name, value in figures.items():
        if not math.isfinite(value):
            raise DivergenceError(
                f"{name} is {value} {when}: check that rewards and observations are of moderate size, or lower "
                f"learning_rate; {spoilt_parameters(policy)}{REMEDY}"
            )
    if abs(figures["q_value"]) > MAX_VALUE:
        raise DivergenceError(
            f"the critics diverge: their mean Q is {figures['q_value']:.3g} {when}, beyond {MAX_VALUE:.0e}: lower "
            f"learning_rate or gamma, or scale the rewards; {REMEDY}"
        )
    if abs(figures["log_prob"]) > MAX_LOG_PROB:
        raise DivergenceError(
            f"the policy's density diverges: its mean logarithm is {figures['log_prob']:.3g} {when}, beyond "
            f"{MAX_LOG_PROB:.0e}: raise ent_coef, or lower learning_rate; {REMEDY}"
        )
