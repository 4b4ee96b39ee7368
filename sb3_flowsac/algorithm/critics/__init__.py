"""The critics: what a state-action is worth, and how that is learnt. A new kind is a file here and a line below."""

from sb3_flowsac.algorithm.critics.base import Critic, CriticLoss, SoftTransitions
from sb3_flowsac.algorithm.critics.batch_renorm import BatchRenormCritic
from sb3_flowsac.algorithm.critics.layer_norm import LayerNormCritic
from sb3_flowsac.algorithm.critics.network import NetworkCritic
from sb3_flowsac.algorithm.critics.quadratic import QuadraticCritic

CRITICS: dict[str, type[Critic]] = {
    "batch_renorm": BatchRenormCritic,
    "layer_norm": LayerNormCritic,
    "network": NetworkCritic,
    "quadratic": QuadraticCritic,
}

__all__ = [
    "CRITICS",
    "BatchRenormCritic",
    "Critic",
    "CriticLoss",
    "LayerNormCritic",
    "NetworkCritic",
    "QuadraticCritic",
    "SoftTransitions",
]
