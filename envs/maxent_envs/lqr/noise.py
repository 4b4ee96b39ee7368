"""Standard normal numbers for many environments at once, each from a generator of its own."""

from collections.abc import Sequence

import numpy as np
from gymnasium.utils import seeding

from maxent_envs.validation import FloatArray

BLOCK = 32


class NoiseStreams:
    """One stream of standard normal vectors for each environment, drawn ahead in blocks.

    Environment i gets exactly the numbers that ``gymnasium.utils.seeding.np_random(seed_i)`` gives in sequence, so it
    meets the same noise as a single environment with that seed; a block saves calls, not numbers.

    :param seeds: A seed or ``None`` (a random one) for each environment.
    :param size: Length n of each vector.
    """

    def __init__(self, seeds: Sequence[int | None], size: int) -> None:
        self._generators = [seeding.np_random(seed)[0] for seed in seeds]
        self._numbers: FloatArray = np.empty((len(seeds), BLOCK, size))
        self._used = np.full(len(seeds), BLOCK)

    def reseed(self, seeds: Sequence[int | None]) -> None:
        """Start streams anew.

        :param seeds: The seed of each environment; the stream of one with ``None`` goes on as it was.
        """
        for index, seed in enumerate(seeds):
            if seed is not None:
                self._generators[index] = seeding.np_random(seed)[0]
                self._used[index] = BLOCK

    def draw(self) -> FloatArray:
        """The next vector of each stream.

        :return: Shape (number of environments, n).
        """
        for index in np.flatnonzero(self._used == BLOCK):
            self._generators[index].standard_normal(out=self._numbers[index])
            self._used[index] = 0
        result: FloatArray = self._numbers[np.arange(len(self._used)), self._used]
        self._used += 1
        return result
