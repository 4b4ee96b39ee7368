"""Residual networks with layer normalisation, as in SimBa."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from sb3_flowsac.algorithm.critics.network import LinearMap, NetworkCritic, apply


class LayerNormCritic(NetworkCritic):
    """
    Residual multi-layer perceptrons on [features, a]: each layer reads f(LayerNorm(x)), with f the activation function,
    and a hidden layer after the first adds to x if it is as wide. The features are normalised by running statistics.

    Simpler than SimBa, whose blocks have two layers and are four times as wide inside. Source: arXiv 2410.09754 (SimBa)

    :param normalize_input: see ``NetworkCritic``
    :param kwargs: arguments of ``NetworkCritic``
    """

    def __init__(self, *, normalize_input: bool = True, **kwargs: Any) -> None:
        super().__init__(normalize_input=normalize_input, **kwargs)

    def _deeper(self, maps: Sequence[LinearMap], hidden: torch.Tensor) -> torch.Tensor:
        for number, linear_map in enumerate(maps, start=1):
            change = apply(linear_map, self.activation(F.layer_norm(hidden, hidden.shape[-1:])))
            is_residual = number < len(maps) and change.shape[-1] == hidden.shape[-1]  # the output is no sum
            hidden = hidden + change if is_residual else change
        return hidden
