"""Problems by name: what they promise, and the matrices of the literature."""

from pathlib import Path

import numpy as np
import pytest

import maxent_envs

RECORDED = sorted((Path(__file__).parent / "lqr_systems").glob("*.yml"))  # sampled matrices, number by number


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_systems_of_the_literature_have_their_matrices(path):
    recorded, problem = maxent_envs.load_problem(path), maxent_envs.preset(path.stem)
    for name in ("A", "B", "Q", "R", "N", "noise_cov", "initial_cov"):
        np.testing.assert_allclose(getattr(problem, name), getattr(recorded, name), rtol=1e-12, atol=1e-15)
    assert problem.gamma == recorded.gamma


def test_every_preset_says_what_it_is_and_where_it_comes_from():
    assert {path.stem for path in RECORDED} < maxent_envs.PRESETS.keys()
    for name, text in maxent_envs.PRESETS.items():
        assert len(text) > 30 and "(" in text, name
        assert np.isfinite(maxent_envs.preset(name).solve(0.1).expected_return())


def test_presets_are_as_described():
    default, scalar, unstable, six = map(maxent_envs.preset, ("default", "scalar", "unstable", "six-state"))
    assert maxent_envs.preset() == default
    assert [(p.n_states, p.n_inputs) for p in (default, scalar, unstable, six)] == [(2, 2), (1, 1), (2, 2), (6, 3)]
    Sigma = default.solve(0.5).Sigma
    assert abs(Sigma[0, 1]) / np.sqrt(Sigma[0, 0] * Sigma[1, 1]) > 0.5
    assert np.sqrt(unstable.gamma) * np.abs(np.linalg.eigvals(unstable.A)).max() > 1.05
    for problem in (default, scalar, unstable, six):
        assert np.abs(np.linalg.eigvals(problem.solve(1.0).closed_loop)).max() < 0.7


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"preset must be one of aircraft-pitch, .*default.*; got 'defualt'"):
        maxent_envs.preset("defualt")
