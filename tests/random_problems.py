"""Strategies of hypothesis for linear-quadratic problems."""

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
