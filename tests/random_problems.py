"""Strategies of hypothesis for linear-quadratic problems."""

import numpy as np
from hypothesis import strategies as st

import maxent_envs

alphas = st.sampled_from([0.02, 0.1, 0.5, 2.0])


def problems(most_states):
    """Random stabilizable problems, stable and unstable ones, of up to so many states and three inputs."""
    return st.builds(
        maxent_envs.random_problem,
        n_states=st.integers(1, most_states),
        n_inputs=st.integers(1, 3),
        seed=st.integers(0, 10_000),
        spectral_radius=st.floats(0.3, 1.2),
        gamma=st.sampled_from([0.5, 0.9, 0.95]),
    )


def with_output(problem, rank, seed):
    """The same dynamics with the cost |Cx + Du|^2 + u'Ru of so many outputs; None where it is not detectable."""
    rng = np.random.default_rng(seed)
    C, D = rng.standard_normal((rank, problem.n_states)), 0.3 * rng.standard_normal((rank, problem.n_inputs))
    cost = {"Q": C.T @ C, "N": C.T @ D, "R": problem.R + D.T @ D}
    try:
        return maxent_envs.LQRProblem(**(problem.to_dict() | cost))
    except ValueError as error:
        assert "detectable" in str(error)
        return None


def output_problems(most_states):
    """As :func:`problems`, with a singular Q (but for many outputs) and a cross term N."""
    return st.builds(with_output, problems(most_states), st.integers(1, 3), st.integers(0, 10_000)).filter(bool)
