"""The running average of the actor's weights, which acts while the optimizer works on weights that run ahead of it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

WARM_UP = 10  # the average is over a tenth of the optimizer's steps so far, until that is 1 / tau of them


class WeightAverage:
    r"""
    Exponential moving average of parameters over the steps of their optimizer, with no second network.

    The parameters hold the average. What the optimizer works on is the average plus an offset, and only within
    ``ahead()``. After each step z of the optimizer, the average a becomes a + rate (z - a). Whoever changes the
    parameters outside, by loading or cloning, moves both.

    :param parameters: the parameters
    :param tau: rate, above 0 and at most 1; with 1 the average is the optimizer's latest step
    """

    def __init__(self, parameters: Iterable[nn.Parameter], tau: float) -> None:
        self.parameters: list[torch.Tensor] = list(parameters)
        self.tau = tau
        self.n_steps = 0
        self.offsets = [torch.zeros_like(parameter) for parameter in self.parameters]

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Within it the parameters are those that the optimizer works on; call ``follow`` after each of its steps."""
        with torch.no_grad():
            self._averages = [parameter.detach().clone() for parameter in self.parameters]
            torch._foreach_add_(self.parameters, self.offsets)
        try:
            yield
        finally:
            with torch.no_grad():
                self.offsets = list(torch._foreach_sub(self.parameters, self._averages))
                torch._foreach_copy_(self.parameters, self._averages)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average after a step of the optimizer."""
        self.n_steps += 1
        rate = max(self.tau, WARM_UP / (WARM_UP + self.n_steps))
        torch._foreach_lerp_(self._averages, self.parameters, rate)

    def state_dict(self) -> dict[str, Any]:
        """The number of steps and the offsets."""
        return {"n_steps": self.n_steps, "offsets": self.offsets}

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """
        Go on from a state.

        :param state: what ``state_dict`` has given
        :param strict: part of torch's signature; the state always has to fit
        """
        self.n_steps = state["n_steps"]
        for offset, saved in zip(self.offsets, state["offsets"], strict=True):
            offset.copy_(saved)
