"""Transforms to scaled actions: inverse, log-determinant against autograd, and the support."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sb3_flowsac.flow import Identity, Tanh

F64 = {"dtype": torch.float64}


@pytest.mark.parametrize("transform", [Identity(), Tanh()], ids=["identity", "tanh"])
def test_inverse_and_log_det_are_those_of_autograd(transform):
    u = 2.0 * torch.randn(2, 5, 3, **F64)
    torch.testing.assert_close(transform.inverse(transform(u)), u, rtol=1e-9, atol=1e-9)
    for point, expected in zip(u.view(-1, 3), transform.log_det(u).view(-1), strict=True):
        jacobian = torch.func.jacrev(transform)(point)
        torch.testing.assert_close(expected, jacobian.slogdet()[1], rtol=1e-9, atol=1e-9)


@given(st.floats(-1e4, 1e4))
def test_tanh_log_det_is_exact_where_the_naive_formula_fails(u):
    """log(1 - tanh^2 u) = -2 log cosh u, with log cosh u = |u| + log((1 + e^(-2|u|)) / 2)."""
    expected = -2.0 * (abs(u) + math.log1p(math.exp(-2.0 * abs(u))) - math.log(2.0))
    actual = Tanh().log_det(torch.tensor([u], **F64)).item()
    assert actual == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_bounded_log_det_is_that_of_the_outermost_action_beyond_it():
    tanh, inside, outermost = Tanh(), torch.linspace(-8.0, 8.0, 33).unsqueeze(1), Tanh().inverse(torch.ones(1, 1))
    torch.testing.assert_close(tanh.bounded_log_det(inside), tanh.log_det(inside))
    for far in (9.0, -9.0, 1e30, -1e30):
        torch.testing.assert_close(tanh.bounded_log_det(torch.tensor([[far]])), tanh.log_det(outermost))
    assert torch.equal(Identity().bounded_log_det(inside), Identity().log_det(inside))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_tanh_stays_in_the_open_box(dtype):
    u = torch.tensor([-1e30, -50.0, -9.0, 9.0, 50.0, 1e30], dtype=dtype)
    actions = Tanh()(u)
    assert (actions.abs() < 1.0).all()
    assert torch.equal(actions.sign(), u.sign())
    assert Tanh().inverse(actions).isfinite().all()


def test_tanh_takes_the_bounds_themselves():
    latents = Tanh().inverse(torch.tensor([-1.0, 1.0]))
    assert latents.isfinite().all() and latents[0] < -8.0 and latents[1] > 8.0


def test_support_in_latents():
    u = torch.tensor([[0.0, 0.0], [1.0, -1.0], [1.0 + 1e-6, 0.0], [0.0, -3.0]])
    assert Identity().log_indicator(u).tolist() == [0.0, 0.0, -math.inf, -math.inf]
    assert Tanh().log_indicator(8.0 * u[:3]).tolist() == [0.0] * 3
    assert Tanh().squashes and not Identity().squashes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_latents_that_round_to_the_outermost_action_lie_outside(dtype):
    tanh, bounds = Tanh(), torch.tensor([[-1.0], [1.0]], dtype=dtype)
    outermost = tanh.inverse(bounds)
    assert tanh.log_indicator(outermost).tolist() == [0.0, 0.0]
    assert tanh.log_indicator(1.001 * outermost).tolist() == [-math.inf] * 2
    assert torch.equal(tanh(1.001 * outermost), tanh(outermost)) and not torch.equal(
        tanh(0.9 * outermost), tanh(outermost)
    )
