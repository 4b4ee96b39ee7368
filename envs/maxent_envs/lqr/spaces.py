"""What the single and the batched environment share: spaces, and the checks of what passes through them."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from maxent_envs.lqr.bounds import action_bounds, derived_action_bound
from maxent_envs.lqr.problem import LQRProblem
from maxent_envs.validation import FloatArray, abridged, vectors

Float32Space: TypeAlias = spaces.Space[npt.NDArray[np.float32]]

FLOAT32_MAX = np.finfo(np.float32).max


def observation_space(problem: LQRProblem) -> Float32Space:
    """All float32 states.

    :param problem: The problem.
    :return: A Box of shape (n,), bounded by the largest float32 so that no checker warns of infinite bounds.
    """
    return spaces.Box(-FLOAT32_MAX, FLOAT32_MAX, shape=(problem.n_states,), dtype=np.float32)


def action_space(problem: LQRProblem, action_bound: object, alpha: float) -> Float32Space:
    """The symmetric Box of the actions.

    :param problem: The problem.
    :param action_bound: One bound for all inputs, one per input, or ``None`` to derive them.
    :param alpha: Temperature from which the bound is derived.
    :return: A Box of shape (m,), float32.
    :raises ValueError: If a bound is not positive and finite in float32.
    """
    if action_bound is None:
        bound = derived_action_bound(problem, alpha).astype(np.float32)
        if not ((bound >= np.finfo(np.float32).tiny) & (bound <= FLOAT32_MAX)).all():
            raise ValueError(
                f"A, B, Q, R, noise_cov, initial_cov and alpha={alpha} give action bounds outside float32's range, "
                f"{bound.tolist()}: rescale them or give action_bound"
            )
    else:
        bound = action_bounds(action_bound, problem.n_inputs).astype(np.float32)
    return spaces.Box(-bound, bound, dtype=np.float32)


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


def observation(state: FloatArray) -> npt.NDArray[np.float32]:
    """The state as the agent sees it.

    :param state: States, shape (..., n), float64.
    :return: The same in float32.
    :raises OverflowError: If a state has left the range of float32: the system is unstable and was not controlled.
    """
    if not (np.abs(state) <= FLOAT32_MAX).all():
        raise OverflowError(
            f"the state must stay within float32's range, got {abridged(state)}: the actions let an unstable system run away"
        )
    return state.astype(np.float32)
