"""What the environments share: one vector as the state, seeds, saving and resuming, pictures."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from maxent_envs.validation import FloatArray, abridged, array, choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Float32Array: TypeAlias = npt.NDArray[np.float32]
Float32Space: TypeAlias = spaces.Space[Float32Array]


class VectorStateEnv(gym.Env[Float32Array, Float32Array]):
    """An environment whose future depends on a state, as long as the observation, and on its random generator.

    Subclasses draw the first state, keep the state in ``_state`` (``None`` where a reset is due) and, if they have a
    render mode, draw ``_path``, the states since the reset, and ``_action``, the last one if there is any.

    :param observation_space: A Box of shape (n,).
    :param action_space: A Box.
    :param render_mode: ``None`` or one of ``metadata["render_modes"]``.
    :raises ValueError: If the render mode is another.
    """

    size_inches: ClassVar[tuple[float, float]] = (5.0, 5.0)

    def __init__(self, observation_space: Float32Space, action_space: Float32Space, render_mode: str | None) -> None:
        if render_mode is not None:
            choice("render_mode", render_mode, self.metadata["render_modes"])
        self.observation_space, self.action_space, self.render_mode = observation_space, action_space, render_mode
        self._state: FloatArray | None = None
        self._path: list[FloatArray] = []
        self._action: FloatArray | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Start an episode.

        :param seed: Seed of all random numbers; ``None`` goes on with the generator as it is.
        :param options: ``{"state": x0}`` starts at x0, shape (n,), in the observation space; the random numbers are
            consumed all the same.
        :return: Observation, shape (n,), and an empty dictionary.
        :raises ValueError: If the options have another key, or x0 does not fit.
        """
        super().reset(seed=seed)
        state = self._draw_state()
        if options:
            if not isinstance(options, dict) or set(options) != {"state"}:
                raise ValueError(f"options must be None or a dictionary with the key 'state', got {abridged(options)}")
            state = array("options['state']", options["state"], self.observation_space.shape)
            with np.errstate(over="ignore"):
                fits = self.observation_space.contains(state.astype(np.float32))
            if not fits:
                raise ValueError(f"options['state'] must lie in {self.observation_space}, got {state.tolist()}")
        self._state, self._path, self._action = state, [state], None
        return state.astype(np.float32), {}

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Draw the episode.

        :return: An RGB image, shape (height, width, 3), in mode ``"rgb_array"``; ``None`` without a mode.
        :raises gymnasium.error.ResetNeeded: Before the first reset.
        """
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; give render_mode='rgb_array' to gym.make")
            return None
        if not self._path:
            raise ResetNeeded("reset() must be called before render()")
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=self.size_inches, dpi=80, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        self._draw(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def get_state(self) -> dict[str, Any]:
        """Everything that the future of the environment depends on, for an exact resume.

        The step count of a ``TimeLimit`` wrapper is the wrapper's and not in it, nor is the drawn trajectory.

        :return: A dictionary of plain Python values that can be pickled and dumped to JSON: ``state`` (list of
            floats, or ``None`` where a reset is due) and ``rng`` (state of the bit generator).
        """
        state = None if self._state is None else self._state.tolist()
        return {"state": state, "rng": self.np_random.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`get_state` was called.

        :param state: What :meth:`get_state` returned, of an environment with as many states.
        :raises ValueError: If the dictionary has other keys or values that do not fit.
        """
        if not isinstance(state, dict) or set(state) != {"state", "rng"}:
            raise ValueError(f"state must be a dictionary with the keys state and rng, got {abridged(state)}")
        given = state["state"]
        restored = None if given is None else array("state['state']", given, self.observation_space.shape)
        try:
            self.np_random.bit_generator.state = state["rng"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"state['rng'] must be the state of a PCG64 bit generator, got {state['rng']!r}"
            ) from error
        self._state, self._path, self._action = restored, [] if restored is None else [restored], None

    @abstractmethod
    def _draw_state(self) -> FloatArray:
        """A first state, shape (n,), from ``self.np_random``."""

    def _draw(self, figure: "Figure") -> None:
        """Draw ``_path``; only for environments with a render mode."""
        raise NotImplementedError

    def _move(self, state: FloatArray) -> None:
        """Go on to a state."""
        self._state = state
        if self.render_mode is not None:
            self._path.append(state)

    def _current_state(self) -> FloatArray:
        if self._state is None:
            raise ResetNeeded("reset() must be called before step()")
        return self._state


def unbounded_space(size: int) -> Float32Space:
    """All float32 vectors of a length: a Box up to the largest float32, so that no checker warns of infinite bounds."""
    limit = np.finfo(np.float32).max
    return spaces.Box(-limit, limit, shape=(size,), dtype=np.float32)
