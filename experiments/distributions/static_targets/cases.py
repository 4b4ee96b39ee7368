"""The targets: exp(Q / alpha) with Q(s, a) = alpha log p(a|s), so that p is the optimum and log Z(s) = 0 in every
state."""

from dataclasses import dataclass

import numpy as np

from maxent_envs import Target, get_target
from maxent_envs.targets import CorrelatedGaussian, RotatingMixture, SharpGaussian

STD = 0.07
ALPHA, COLD = 0.1, 0.02
COLD_STD = STD * np.sqrt(COLD / ALPHA)  # that of exp(Q / COLD) where Q is the one whose exp(Q / ALPHA) has STD


@dataclass(frozen=True)
class Case:
    """
    A target to be fitted.

    :param target: p
    :param updates: updates of a run
    :param alpha: the entropy coefficient
    """

    target: Target
    updates: int
    alpha: float = ALPHA

    @property
    def is_low_dimensional(self) -> bool:
        """Whether it has at most two dimensions."""
        return self.target.action_dim <= 2


def _sharp(dim: int, updates: int) -> dict[str, Case]:
    return {
        f"sharp_{dim}d": Case(SharpGaussian(dim, STD), updates),
        f"sharp_{dim}d_cold": Case(SharpGaussian(dim, COLD_STD), updates, COLD),
    }


CASES = {
    "rotating_mixture": Case(RotatingMixture(), 6000),
    **_sharp(6, 1500),
    **_sharp(17, 3000),
    "unequal_modes": Case(get_target("unequal_modes"), 3000),
    "ring": Case(get_target("ring"), 3000),
    "banana": Case(get_target("banana"), 3000),
    "bound_maximum": Case(get_target("bound_maximum"), 3000),
    **_sharp(2, 1500),
    "correlated_6d": Case(CorrelatedGaussian(6, STD), 3000),
    **_sharp(38, 3000),
}
