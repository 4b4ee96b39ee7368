"""Importance weights: no overflow, their diagnostics against closed forms, and unbiased resampling."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.special import softmax

from sb3_flowsac.isfm import effective_sample_size, renyi_divergence, resample, self_normalize, weight_statistics

F64 = {"dtype": torch.float64}
log_weights = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=20),
    elements=st.floats(-1e6, 1e6) | st.just(-math.inf) | st.sampled_from([-1e6, 0.0, 1e6]),
)


@given(log_weights, st.sampled_from([torch.float32, torch.float64]))
def test_no_size_of_the_logarithms_overflows(values, dtype):
    logarithms = torch.tensor(values, dtype=dtype)
    weights = self_normalize(logarithms)
    assert weights.dtype == dtype and weights.isfinite().all() and (weights >= 0).all()
    alive = (logarithms > -math.inf).any(-1)
    assert not weights[~alive].any()
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(
        weights[alive].sum(-1), torch.ones(int(alive.sum()), dtype=dtype), rtol=0, atol=tolerance
    )
    if alive.any():
        expected = softmax(logarithms[alive].numpy().astype(np.float64), axis=-1)
        np.testing.assert_allclose(weights[alive], expected, rtol=0, atol=tolerance)


@given(log_weights, st.integers(-(2**20), 2**20))
def test_a_constant_per_state_cancels(values, constant):
    """Z(s) is never needed. Shifts by an integer and entries on a grid of 1/1024 are exact in double precision."""
    values = np.where(np.isfinite(values), np.round(values * 1024) / 1024, values)
    torch.testing.assert_close(self_normalize(torch.tensor(values + constant)), self_normalize(torch.tensor(values)))


def test_a_sample_outside_the_support_weighs_nothing():
    weights = self_normalize(torch.tensor([[0.0, -math.inf, math.log(3.0)], [-math.inf, -math.inf, -1e6]]))
    torch.testing.assert_close(weights, torch.tensor([[0.25, 0.0, 0.75], [0.0, 0.0, 1.0]]))


def test_a_state_without_support_has_no_effective_samples():
    nothing = torch.zeros(1, 4)
    assert effective_sample_size(nothing).tolist() == [0.0]
    for order in (2, 4):  # the largest that an estimate can be
        torch.testing.assert_close(renyi_divergence(nothing, order), torch.tensor([math.log(4.0)]))
    assert resample(nothing, 3).shape == (1, 3)


@given(log_weights)
def test_effective_sample_size_is_n_times_exp_of_minus_renyi_2(values):
    weights = self_normalize(torch.tensor(values))
    weights = weights[weights.sum(-1) > 0]
    ess, n = effective_sample_size(weights), weights.shape[-1]
    torch.testing.assert_close(ess, n * (-renyi_divergence(weights, 2)).exp(), rtol=1e-10, atol=0)
    assert ((ess >= 1 - 1e-9) & (ess <= n * (1 + 1e-9))).all()


@given(log_weights)
def test_renyi_estimates_grow_with_the_order_up_to_log_n(values):
    weights = self_normalize(torch.tensor(values))
    weights = weights[weights.sum(-1) > 0]
    estimates = [renyi_divergence(weights, order) for order in (0.5, 2, 4)]
    assert (estimates[0] >= -1e-9).all() and (estimates[-1] <= math.log(weights.shape[-1]) + 1e-9).all()
    assert all((low <= high + 1e-9).all() for low, high in itertools.pairwise(estimates))


def test_equal_and_single_weights_are_the_extremes():
    weights = torch.tensor([[0.25] * 4, [0.0, 0.0, 1.0, 0.0]])
    torch.testing.assert_close(effective_sample_size(weights), torch.tensor([4.0, 1.0]))
    for order in (2, 4):
        torch.testing.assert_close(
            renyi_divergence(weights, order), torch.tensor([0.0, math.log(4.0)]), rtol=1e-6, atol=1e-6
        )


def test_statistics_are_means_over_the_states():
    """By hand, of two of four and three of four equal weights: R_n of both is log(4 / how many), whatever the order."""
    weights = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 1 / 3, 1 / 3, 1 / 3], [0.7, 0.1, 0.1, 0.1]], **F64)
    renyi = [math.log(2), math.log(4 / 3)]
    expected = {
        "ess": (2 + 3 + 1 / 0.52) / 3 / 4,
        "renyi_2": np.mean([*renyi, math.log(4 * 0.52)]),
        "renyi_4": np.mean([*renyi, math.log(4**3 * (0.7**4 + 3 * 0.1**4)) / 3]),
        "max_weight": (0.5 + 1 / 3 + 0.7) / 3,
    }
    actual = {name: value.item() for name, value in weight_statistics(weights).items()}
    assert actual == pytest.approx(expected, rel=1e-12)


def gaussian_renyi(order, difference, target, proposal):
    """The closed form: S_n = n S_h + (1-n) S_pi, finite while that is positive definite."""
    mixed = order * proposal + (1 - order) * target
    assert (np.linalg.eigvalsh(mixed) > 0).all()
    determinants = np.linalg.det(mixed) / (np.linalg.det(target) ** (1 - order) * np.linalg.det(proposal) ** order)
    return order / 2 * difference @ np.linalg.solve(mixed, difference) - np.log(determinants) / (2 * (order - 1))


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize(
    ("difference", "target", "proposal"),
    [
        ([0.4], [[0.7]], [[1.0]]),
        ([0.0], [[0.3]], [[1.0]]),
        ([0.3, -0.2], [[0.5, 0.2], [0.2, 0.6]], [[1.0, -0.1], [-0.1, 0.9]]),
    ],
)
def test_renyi_divergence_of_gaussians(order, difference, target, proposal):
    """Mean over 40 batches within 4 standard errors; the bias of one batch, O(1 / 50,000), is far below."""
    difference, target, proposal = np.array(difference), np.array(target), np.array(proposal)
    dim, batches, n = len(difference), 40, 50_000
    target_law = torch.distributions.MultivariateNormal(torch.tensor(difference), torch.tensor(target))
    proposal_law = torch.distributions.MultivariateNormal(torch.zeros(dim, **F64), torch.tensor(proposal))
    u = proposal_law.sample((batches, n))
    estimates = renyi_divergence(self_normalize(target_law.log_prob(u) - proposal_law.log_prob(u) + 17.0), order)
    expected = gaussian_renyi(order, difference, target, proposal)
    standard_error = estimates.std() / batches**0.5
    assert expected > 20 * standard_error  # the test can tell the value from zero
    assert abs(estimates.mean() - expected) < 4 * standard_error


@pytest.mark.parametrize("order", [0, -2, 1, math.nan])
def test_order_out_of_range_is_named(order):
    with pytest.raises(ValueError, match="order"):
        renyi_divergence(torch.ones(1, 1), order)


@given(log_weights, st.integers(1, 40), st.integers(0, 100))
def test_each_index_is_drawn_n_times_its_weight_up_to_rounding(values, n, seed):
    weights = self_normalize(torch.tensor(values))
    weights = weights[weights.sum(-1) > 0]
    index = resample(weights, n, torch.Generator().manual_seed(seed))
    assert index.shape == (weights.shape[0], n)
    counts = torch.zeros_like(weights).scatter_add_(1, index, torch.ones(index.shape, **F64))
    assert (counts > n * weights - 1 - 1e-6).all() and (counts < n * weights + 1 + 1e-6).all()
    assert not counts[weights == 0].any()


def test_resampling_is_unbiased():
    """Mean counts of 40,000 draws of 3 from 5 unequal weights, within 4.5 standard errors."""
    weights = torch.tensor([0.05, 0.42, 0.0, 0.2, 0.33], **F64)
    index = resample(weights.expand(40_000, -1), 3)
    counts = torch.nn.functional.one_hot(index, 5).sum(1).double()
    standard_error = counts.std(0) / 200.0
    assert ((counts.mean(0) - 3 * weights).abs() <= 4.5 * standard_error).all()


@pytest.mark.parametrize("n", [1, 3, 16, 100])
def test_the_largest_random_number_draws_no_proposal_without_weight(n, monkeypatch):
    """(15 + 0.99999994) / 16 is 1 in single precision: not past the last proposal that weighs something."""
    monkeypatch.setattr(torch, "rand", lambda *size, dtype, **_: torch.full(size, 1.0 - 2.0**-24, dtype=dtype))
    assert (resample(torch.tensor([[0.0, 0.3, 0.7, 0.0]]), n) < 3).all()
    monkeypatch.setattr(torch, "rand", lambda *size, dtype, **_: torch.zeros(size, dtype=dtype))
    assert (resample(torch.tensor([[0.0, 0.3, 0.7, 0.0]]), n) > 0).all()


def test_a_generator_leaves_torchs_random_state_alone():
    weights, before = torch.full((2, 8), 0.125), torch.get_rng_state()
    draws = [resample(weights, 3, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*draws) and torch.equal(torch.get_rng_state(), before)
