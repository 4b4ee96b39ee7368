"""The noise of the actions among which deterministic prediction chooses."""

import torch
from torch.quasirandom import SobolEngine


def centre_and_sobol_noise(n: int, dim: int) -> torch.Tensor:
    """
    n fixed points that stand for N(0, I): the centre, then a scrambled Sobol sequence under the normal quantile
    function.

    They are the same in every call, a larger n has those of a smaller one first, and no random numbers are used up.

    :param n: number of points, at least 1
    :param dim: length of each
    :return: (n, dim), in single precision
    """
    engine = SobolEngine(dim, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    uniform = engine.draw(n, dtype=torch.float64)
    # The points are multiples of 2^-30; at 0 the quantile would be infinite
    noise: torch.Tensor = torch.special.ndtri(uniform.clamp(min=2.0**-31))
    noise[0] = 0.0
    return noise.float()
