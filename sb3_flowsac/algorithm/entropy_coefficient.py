"""The entropy coefficient alpha, a number or learnt."""

import math
from typing import Any

import torch
from torch import nn

from sb3_flowsac.checks import abridged


def read_ent_coef(value: object) -> tuple[float, bool]:
    """
    The number in ``ent_coef`` (1 in "auto") and whether it is learnt from there on.

    :param value: a positive number, "auto" or "auto_0.1"
    :raises ValueError: if it is anything else
    """
    is_learnt = isinstance(value, str) and (value == "auto" or value.startswith("auto_"))
    try:
        text = str(value)
        number = 1.0 if text == "auto" else float(text.removeprefix("auto_"))
    except ValueError:
        number = math.nan
    if not 0 < torch.tensor(number).item() < math.inf:  # in single precision, as it is used
        raise ValueError(
            f'ent_coef={abridged(value)} must be a positive number, "auto" or "auto_" and a positive number'
        )
    return number, is_learnt


class EntropyCoefficient(nn.Module):
    """
    alpha, as in SB3's SAC: fixed, or learnt with Adam on log alpha so that the policy's entropy meets a target.

    Its state is the number with the optimizer's moments. Only an ``EntropyCoefficient`` of the same ``ent_coef`` takes
    it over: another value, given when a model is loaded, rules.

    :param ent_coef: a positive number, "auto" to learn it from 1 on, or "auto_0.1" from 0.1 on
    :param learning_rate: of its Adam, at the start
    :raises ValueError: if ``ent_coef`` is anything else
    """

    def __init__(self, ent_coef: str | float, learning_rate: float) -> None:
        super().__init__()
        initial, self.is_learnt = read_ent_coef(ent_coef)
        self.ent_coef = ent_coef if isinstance(ent_coef, str) else initial
        self.value = nn.Buffer(torch.tensor(initial))
        self.log_value = nn.Parameter(torch.tensor(initial).log(), requires_grad=self.is_learnt)
        self.optimizer = torch.optim.Adam([self.log_value], lr=learning_rate, fused=True) if self.is_learnt else None

    def forward(self) -> torch.Tensor:
        """alpha, without gradient, ()."""
        return self.log_value.detach().exp() if self.is_learnt else self.value

    def step(self, excess: torch.Tensor) -> torch.Tensor:
        """
        One step of a learnt alpha.

        :param excess: entropy of the policy over its target, ()
        :return: the loss, log alpha times the excess
        """
        loss = self.log_value.detach() * excess
        if self.optimizer is not None:
            self.log_value.grad = excess  # of that product
            self.optimizer.step()
        return loss

    def get_extra_state(self) -> dict[str, Any]:
        """What ``state_dict`` holds beside tensors: the ``ent_coef`` it belongs to and the optimizer's state."""
        return {"ent_coef": self.ent_coef, "optimizer": self.optimizer.state_dict() if self.optimizer else None}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over the optimizer's state from what ``get_extra_state`` has given."""
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """As torch's, but the state of another ``ent_coef`` is left alone."""
        kept = state_dict.get("_extra_state")  # torch says what a state lacks
        same = kept is None or kept["ent_coef"] == self.ent_coef
        return super().load_state_dict(state_dict if same else self.state_dict(), strict, assign)
