"""Residual networks with layer normalisation, as in SimBa."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from sb3_flowsac.algorithm.critics.network import LinearMap, NetworkCritic, apply


class LayerNormCritic(NetworkCritic):
    """
    Residual multi-layer perceptrons on [features, a]: x becomes x + W f(LayerNorm(x)) in each hidden layer after the
    first if sizes agree, with f the activation function. The features are normalised by running statistics.

    A SimBa block has two layers, four times as wide inside, and these have one. Source: arXiv 2410.09754 (SimBa)

    :param normalize_input: see ``NetworkCritic``
    :param kwargs: arguments of ``NetworkCritic``
    """

    def __init__(self, *, normalize_input: bool = True, **kwargs: Any) -> None:
        super().__init__(normalize_input=normalize_input, **kwargs)

    def _deeper(self, maps: Sequence[LinearMap], hidden: torch.Tensor) -> torch.Tensor:
        for linear_map in maps:
            change = apply(linear_map, self.activation(F.layer_norm(hidden, hidden.shape[-1:])))
            hidden = hidden + change if change.shape == hidden.shape else change
        return hidden
