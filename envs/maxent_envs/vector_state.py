"""What environments share whose state is one vector."""

from copy import deepcopy
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from maxent_envs.validation import FloatArray, abridged, shaped, vectors

Float32Array: TypeAlias = npt.NDArray[np.float32]
Float32Space: TypeAlias = spaces.Space[Float32Array]

FLOAT32_MAX = np.finfo(np.float32).max


class VectorStateEnv(gym.Env[Float32Array, Float32Array]):
    """An environment whose future depends on a state, as long as the observation, and on its random generator.

    Subclasses keep the state in ``_state``, ``None`` where a reset is due.
    """

    _state: FloatArray | None = None

    def get_state(self) -> dict[str, Any]:
        """Everything that the future of the environment depends on, for an exact resume.

        The step count of a ``TimeLimit`` wrapper is the wrapper's and not in it, nor is the drawn trajectory.

        :return: A dictionary of plain Python values that can be pickled and dumped to JSON: ``state`` (list of
            floats, or ``None`` where a reset is due) and ``rng`` (state of the bit generator).
        """
        return {
            "state": None if self._state is None else self._state.tolist(),
            "rng": deepcopy(self.np_random.bit_generator.state),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`get_state` was called.

        :param state: What :meth:`get_state` returned, of an environment with as many states.
        :raises ValueError: If the dictionary has other keys or values that do not fit.
        """
        if not isinstance(state, dict) or set(state) != {"state", "rng"}:
            raise ValueError(f"state must be a dictionary with the keys state and rng, got {state!r}")
        shape = self.observation_space.shape or ()
        restored = None if state["state"] is None else shaped("state['state']", state["state"], shape)
        try:
            self.np_random.bit_generator.state = deepcopy(state["rng"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"state['rng'] must be the state of a PCG64 bit generator, got {state['rng']!r}"
            ) from error
        self._state = restored
        if restored is not None:
            self._start_drawing(restored)

    def _start_drawing(self, state: FloatArray) -> None:
        """Begin the picture of an episode, where there is one."""

    def _current_state(self) -> FloatArray:
        if self._state is None:
            raise ResetNeeded("reset() must be called before step() and render()")
        return self._state


def unbounded_space(size: int) -> Float32Space:
    """All float32 vectors.

    :param size: Their length.
    :return: A Box bounded by the largest float32, so that no checker warns of infinite bounds.
    """
    return spaces.Box(-FLOAT32_MAX, FLOAT32_MAX, shape=(size,), dtype=np.float32)


def initial_state_option(options: object, shape: tuple[int, ...]) -> FloatArray | None:
    """Read the initial state from the options of ``reset``.

    :param options: ``None`` or a dictionary whose only key may be ``"state"``.
    :param shape: Shape of the state required; a state without the leading axes stands for all environments.
    :return: The state in float64 and of that shape, or ``None`` if it is to be drawn.
    :raises ValueError: If the options are something else or the state has the wrong shape.
    """
    if not options:
        return None
    if not isinstance(options, dict) or set(options) != {"state"}:
        raise ValueError(f"options must be None or a dictionary with the key 'state' only, got {abridged(options)}")
    state = vectors("options['state']", options["state"], shape[-1])
    if state.shape not in (shape, shape[-1:]):
        raise ValueError(f"options['state'] must have shape {shape}, got shape {state.shape}")
    return np.broadcast_to(state, shape).copy()
