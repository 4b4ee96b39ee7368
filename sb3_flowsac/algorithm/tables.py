"""The tables that training prints."""

import math
import sys
import time
from typing import Any

from stable_baselines3.common.logger import HumanOutputFormat, Logger

SECONDS = 3.0


class SlowTables(HumanOutputFormat):
    """SB3's table on the standard output, at most one every 3 seconds: short episodes end faster than one can read."""

    _printed_at = -math.inf

    def write(self, *args: Any, **kwargs: Any) -> None:
        """Print a table unless the last one is too recent."""
        if time.monotonic() - self._printed_at >= SECONDS:
            super().write(*args, **kwargs)
            self._printed_at = time.monotonic()


def slow_down_tables(logger: Logger) -> None:
    """
    Let a logger print its tables less often; files and TensorBoard get all of them.

    :param logger: a logger that SB3 has made
    """
    logger.output_formats = [
        SlowTables(sys.stdout) if isinstance(output, HumanOutputFormat) and output.file is sys.stdout else output
        for output in logger.output_formats
    ]
