"""The optimizers of actor and critics."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

ADAM_BETAS = (0.5, 0.999)  # CrossQ's
ADAM_VARIANTS = {"fused", "foreach", "capturable", "differentiable"}  # arguments by which a user chooses one


def make_optimizer(
    parameters: Iterable[nn.Parameter],
    optimizer_class: type[torch.optim.Optimizer],
    learning_rate: float,
    optimizer_kwargs: dict[str, Any],
) -> torch.optim.Optimizer:
    """
    An optimizer; Adam and AdamW are torch's fused ones unless an implementation is chosen, with CrossQ's betas.

    :param parameters: what it trains
    :param optimizer_class: its class
    :param learning_rate: the learning rate at the start
    :param optimizer_kwargs: further arguments of the class
    """
    kwargs = dict(optimizer_kwargs)
    if optimizer_class in (torch.optim.Adam, torch.optim.AdamW):
        fused = {} if kwargs.keys() & ADAM_VARIANTS else {"fused": True}  # the same update in one pass
        kwargs = {"betas": ADAM_BETAS, **fused, **kwargs}
    return optimizer_class(parameters, lr=learning_rate, **kwargs)  # type: ignore[call-arg]
