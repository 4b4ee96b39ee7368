"""What the single and the batched environment share: spaces, and the checks of what passes through them."""

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from maxent_envs.lqr.bounds import action_bounds, derived_action_bound
from maxent_envs.lqr.problem import LQRProblem
from maxent_envs.validation import FloatArray, abridged
from maxent_envs.vector_state import FLOAT32_MAX, Float32Space, unbounded_space


def observation_space(problem: LQRProblem) -> Float32Space:
    """All float32 states.

    :param problem: The problem.
    :return: A Box of shape (n,), bounded by the largest float32 so that no checker warns of infinite bounds.
    """
    return unbounded_space(problem.n_states)


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


def observation(state: FloatArray) -> npt.NDArray[np.float32]:
    """The state as the agent sees it.

    :param state: States, shape (..., n), float64.
    :return: The same in float32.
    :raises OverflowError: If a state has left the range of float32: the system is unstable and was not controlled.
    """
    if not (np.abs(state) <= FLOAT32_MAX).all():
        raise OverflowError(
            f"the state must stay within float32's range, got {abridged(state)}: the actions let an unstable "
            f"system run away"
        )
    return state.astype(np.float32)
