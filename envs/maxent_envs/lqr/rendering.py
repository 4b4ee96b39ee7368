"""Drawing of an LQR episode with matplotlib, which is imported at the first picture only."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maxent_envs.drawing import rgb_image
from maxent_envs.lqr.solution import LQRSolution
from maxent_envs.validation import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (8.0, 4.0)
DOTS_PER_INCH = 80


class TrajectoryView:
    """The path of one episode in the phase plane, and the optimal action beside the taken one.

    :param optimum: The policy whose mean action and standard deviation are shown.
    :param frames_per_second: Speed of the window in ``"human"`` mode.
    """

    def __init__(self, optimum: LQRSolution, frames_per_second: int) -> None:
        self._optimum = optimum
        self._pause_seconds = 1.0 / frames_per_second
        self._states: list[FloatArray] = []
        self._action: FloatArray | None = None
        self._window: Figure | None = None

    def start(self, state: FloatArray) -> None:
        """Begin a new path.

        :param state: First state, shape (n,).
        """
        self._states = [state]
        self._action = None

    def add(self, action: FloatArray, state: FloatArray) -> None:
        """Lengthen the path by one step.

        :param action: Action taken, shape (m,).
        :param state: State that followed, shape (n,).
        """
        self._states.append(state)
        self._action = action

    def image(self) -> npt.NDArray[np.uint8]:
        """The picture as an array.

        :return: RGB, shape (320, 640, 3).
        """
        return rgb_image(self._draw, SIZE_INCHES, DOTS_PER_INCH)

    def show(self) -> None:
        """Draw into a window, opened at the first call, and wait for one frame."""
        import matplotlib.pyplot as plt

        if self._window is None:
            self._window = plt.figure("MaxEntLQR-v0", figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        self._window.clear()
        self._draw(self._window)
        plt.pause(self._pause_seconds)

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            import matplotlib.pyplot as plt

            plt.close(self._window)
            self._window = None

    def _draw(self, figure: "Figure") -> None:
        path_axes, action_axes = figure.subplots(1, 2)
        self._draw_path(path_axes)
        self._draw_action(action_axes)

    def _draw_path(self, axes: "Axes") -> None:
        path = np.array(self._states)
        if path.shape[1] > 1:
            horizontal, vertical, labels = path[:, 0], path[:, 1], ("state 1", "state 2")
            axes.axvline(0.0, color="0.85", zorder=0)
        else:
            horizontal, vertical, labels = np.arange(len(path), dtype=np.float64), path[:, 0], ("step", "state")
        axes.axhline(0.0, color="0.85", zorder=0)
        axes.plot(horizontal, vertical, marker=".", color="tab:blue", linewidth=1.0)
        axes.plot(horizontal[-1:], vertical[-1:], marker="o", color="tab:red")
        axes.set(xlabel=labels[0], ylabel=labels[1], title=f"step {len(path) - 1}")

    def _draw_action(self, axes: "Axes") -> None:
        position = np.arange(self._optimum.problem.n_inputs)
        axes.axhline(0.0, color="0.85", zorder=0)
        if self._action is not None:
            optimal, std = self._optimum.mean(self._states[-2]), np.sqrt(np.diag(self._optimum.Sigma))
            style: dict[str, Any] = {"width": 0.35}
            axes.bar(position - 0.2, self._action, color="tab:blue", label="taken", **style)
            axes.bar(position + 0.2, optimal, color="tab:orange", yerr=std, label="optimal, mean and std", **style)
            axes.legend(loc="upper right")
        axes.set_xticks(position, [f"input {i + 1}" for i in position])
        axes.set(title="last action", ylabel="value")
