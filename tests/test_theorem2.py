"""The parts of the Theorem 2 study: distances against numerical oracles, slopes, fits that know nothing of one
another."""

import json

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from experiments.theory.theorem2 import run_theorem2
from experiments.theory.theorem2.distances import (
    empirical_w2_squared,
    flow_w2_bounds,
    gaussian_renyi,
    gaussian_w2_squared,
    normal_quadrature,
)
from experiments.theory.theorem2.fit import Cell, FitSettings, fit_cell, target, weighted_samples
from experiments.theory.theorem2.slopes import log_mean_slope

TINY = FitSettings(steps=3, pairs=16, hidden=4, n_basis=2, ode_steps=2, points=20)


@pytest.mark.parametrize("order", [2.0, 4.0])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.25])
def test_renyi_divergence_is_that_of_quadrature(order, shift):
    """On a grid; it tells the study's orders and shifts apart."""
    sampling = Cell(1, shift, (0,), TINY).sampling
    axis = np.linspace(-12.0, 12.0, 601)
    points = np.stack(np.meshgrid(axis, axis), axis=-1)
    logs = order * target().logpdf(points) + (1.0 - order) * sampling.logpdf(points)
    expected = np.log(np.exp(logs).sum() * (axis[1] - axis[0]) ** 2) / (order - 1.0)
    assert gaussian_renyi(order, target(), sampling) == pytest.approx(expected, rel=1e-6)


def test_renyi_divergence_is_infinite_where_the_integral_is():
    narrow = multivariate_normal(np.zeros(2), 0.7 * np.eye(2))
    assert gaussian_renyi(4.0, multivariate_normal(np.zeros(2), np.eye(2)), narrow) == np.inf
    assert gaussian_renyi(2.0, multivariate_normal(np.zeros(2), np.eye(2)), narrow) < np.inf


def test_gaussian_w2_is_that_of_the_best_assignment():
    """A linear map with a symmetric positive definite matrix is optimal: its pairs are the assignment, their cost is
    W2^2."""
    rng = np.random.default_rng(0)
    first, matrix = rng.multivariate_normal([0.2, -0.1], [[0.6, -0.2], [-0.2, 0.3]], size=300), [[1.2, 0.4], [0.4, 0.7]]
    second = first @ np.array(matrix) + [0.5, 1.0]
    assert empirical_w2_squared(first, rng.permutation(second)) == pytest.approx(
        np.square(first - second).sum(1).mean()
    )
    moments = [moment for points in (first, second) for moment in (points.mean(0), np.cov(points.T, bias=True))]
    assert gaussian_w2_squared(*moments) == pytest.approx(np.square(first - second).sum(1).mean(), rel=1e-6)


def test_bounds_of_w2_meet_for_the_targets_own_flow_and_enclose_the_distance_elsewhere():
    aim, (noise, weights) = target(), normal_quadrature(2)
    assert weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose((weights[:, None] * noise).T @ noise, np.eye(2), atol=1e-12)
    vectors = np.linalg.eigh(aim.cov)
    root = vectors[1] @ np.diag(np.sqrt(vectors[0])) @ vectors[1].T
    exact = aim.mean + noise @ root
    np.testing.assert_allclose(flow_w2_bounds(exact, noise, weights, aim), 0.0, atol=1e-10)
    np.testing.assert_allclose(flow_w2_bounds(exact + np.array([0.3, 0.4]), noise, weights, aim), 0.25, rtol=1e-8)
    bent = exact + 0.3 * np.sin(3.0 * noise)
    lower, upper = flow_w2_bounds(bent, noise, weights, aim)
    points = np.random.default_rng(0).standard_normal((1000, 2))
    distance = empirical_w2_squared(aim.mean + points @ root + 0.3 * np.sin(3.0 * points), aim.mean + points @ root)
    assert 0.0 < lower < 0.95 * distance and distance < upper * 1.05


@pytest.mark.parametrize(("rate", "floor", "n_cells"), [(-1.0, 0.0, 6), (-0.5, 0.0, 6), (-1.0, 0.01, 4)])
def test_slope_of_synthetic_data(rate, floor, n_cells):
    """Gamma distributed about c N^rate; the last means are under 5 times the floor and do not count."""
    sizes, rng = np.array([8, 16, 32, 64, 128, 512]), np.random.default_rng(0)
    groups = [4.0 * n**rate * rng.gamma(5.0, 0.2, size=20) for n in sizes]
    slope = log_mean_slope(list(np.log(sizes)), groups, floor)
    assert slope.low < rate < slope.high and slope.low < slope.value < slope.high
    assert slope.high - slope.low < 0.6 and slope.n_cells == n_cells
    kept = slice(0, n_cells)
    line = np.polyfit(np.log(sizes[kept]), np.log([group.mean() for group in groups[kept]]), 1)
    assert slope.value == pytest.approx(line[0])


def test_no_slope_from_too_few_means_above_the_floor():
    assert log_mean_slope([0.0, 1.0, 2.0], [[8.0, 9.0], [6.0, 7.0], [1.0, 2.0]], floor=1.0) is None


def test_weights_are_those_of_the_theorem_up_to_a_constant():
    """Whose mean, with the exact Z, goes to 1; the loss is linear in them, so the constant moves no minimiser."""
    cell = Cell(20_000, 0.5, (3, 4), TINY)
    samples, weights = weighted_samples(cell)
    exact = np.exp(target().logpdf(samples.numpy()) - cell.sampling.logpdf(samples.numpy()))
    assert (abs(exact.mean(axis=1) - 1.0) < 4.0 * exact.std(axis=1) / 20_000**0.5).all()
    np.testing.assert_allclose(weights.numpy() * exact.sum(axis=1, keepdims=True), exact, rtol=1e-3, atol=1e-4)


def test_each_seed_is_fitted_by_itself():
    """Another neighbour changes nothing, and the same cell gives the same result."""
    alone = fit_cell(Cell(40, 0.5, (0, 1), TINY))
    beside = fit_cell(Cell(40, 0.5, (0, 2), TINY))
    assert fit_cell(Cell(40, 0.5, (0, 1), TINY)) == alone
    for key in ("lower", "upper", "empirical", "ess"):
        assert beside[key][0] == pytest.approx(alone[key][0], rel=1e-4)
        assert beside[key][1] != alone[key][1]


def test_a_fit_learns():
    """Far nearer than the start, N(0, I), and as a whole nearer with more samples."""
    fit = FitSettings(steps=150, pairs=128, learning_rate=2e-2, hidden=4, n_basis=4, ode_steps=4, points=20)
    start = gaussian_w2_squared(np.zeros(2), np.eye(2), target().mean, target().cov)
    few, many = (np.mean(fit_cell(Cell(n, 0.72, (0, 1, 2), fit))["upper"]) for n in (16, 2048))
    assert many < 0.1 * start and many < 0.5 * few


def tiny_study(out, **changes):
    return run_theorem2(
        **{"out": out, "n_samples": (4, 8, 16), "shifts": (0.0, 1.0, 2.0), "seeds": (0, 1), "fit": TINY, **changes}
    )


def test_a_tiny_study_end_to_end_and_again(tmp_path, capsys, monkeypatch):
    content = tiny_study(tmp_path)
    printed = capsys.readouterr().out
    assert "Not met: a finite parameter set" in printed and "Rank correlation" in printed
    assert (tmp_path / "theorem2.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "theorem2.json").read_text()) == json.loads(json.dumps(content))
    assert [entry["n_samples"] for entry in content["by_n_samples"]] == [4, 8, 16]
    divergences = [entry["renyi_4"] for entry in content["by_renyi_4"]]
    assert divergences == sorted(divergences) and len(divergences) == 3
    assert all(len(entry["upper"]) == 2 for entry in content["by_n_samples"])

    def refuse(cell):
        raise AssertionError(f"{cell} was to be fitted again")

    monkeypatch.setattr("experiments.theory.theorem2.study.fit_cell", refuse)
    assert tiny_study(tmp_path) == content
    with pytest.raises(ValueError, match=r"holds a result of another study \(seeds differ\)"):
        tiny_study(tmp_path, seeds=(0, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (0,)}, "seeds must hold 2 or more different values"),
        ({"seeds": (0, -1)}, "seeds must be an integer of at least 0"),
        ({"n_samples": (1,)}, "n_samples must be an integer of at least 2"),
        ({"shifts": (-1.0,)}, "shifts must be finite and not negative"),
        ({"jobs": 0}, "jobs must be an integer of at least 1"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_study(tmp_path, **changes)
    assert not list(tmp_path.iterdir())
