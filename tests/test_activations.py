"""Swish2 is x sigmoid(2x), with its gradient, and gives no denormal numbers."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from sb3_flowsac.algorithm.activations import Swish2

POINTS = np.concatenate([np.linspace(-19.9, 19.9, 399), [-1e-30, 0.0, 100.0, 1e10]])


def test_value_and_gradient_are_those_of_the_formula():
    x = torch.tensor(POINTS, requires_grad=True)
    y = Swish2()(x)
    np.testing.assert_allclose(y.detach(), POINTS * expit(2 * POINTS), rtol=1e-12, atol=1e-16)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    slope = expit(2 * POINTS) * (1 + 2 * POINTS * expit(-2 * POINTS))
    np.testing.assert_allclose(gradient, slope, rtol=1e-12, atol=1e-16)


def test_the_input_stays_as_it_is():
    x = torch.tensor([-30.0, -1.0, 2.0])
    Swish2()(x)
    assert x.tolist() == [-30.0, -1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neither_values_nor_gradients_are_denormal(dtype):
    x = torch.linspace(-1e4, 0.0, 100_001, dtype=dtype, requires_grad=True)
    y = Swish2()(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    for numbers in (y.detach(), gradient):
        assert numbers.isfinite().all()
        assert not ((numbers != 0) & (numbers.abs() < torch.finfo(dtype).tiny)).any()
