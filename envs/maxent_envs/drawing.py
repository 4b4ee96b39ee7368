"""Pictures in memory with matplotlib, which is imported at the first picture only."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rgb_image(
    draw: Callable[["Figure"], object], size_inches: tuple[float, float], dots_per_inch: int
) -> npt.NDArray[np.uint8]:
    """Draw without a window.

    :param draw: Draws into the figure that it is given.
    :param size_inches: Width and height.
    :param dots_per_inch: Resolution.
    :return: RGB, shape (height, width, 3).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_inches, dpi=dots_per_inch, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    draw(figure)
    pixels, (width, height) = canvas.print_to_buffer()
    return np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 4)[..., :3].copy()
