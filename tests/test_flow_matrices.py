"""Products and determinants of many small matrices against numpy."""

import numpy as np
import pytest
import torch

from sb3_flowsac.flow.matrices import LARGEST_LOOP, log_abs_det, matmul

DIMS = [1, 2, 3, 6, LARGEST_LOOP, LARGEST_LOOP + 1, 17]


@pytest.mark.parametrize("dim", DIMS)
def test_log_abs_det_is_numpys(dim):
    matrix = torch.randn(20, 3, dim, dim, dtype=torch.float64)
    sign, logarithm = np.linalg.slogdet(matrix.numpy())
    actual = log_abs_det(matrix)
    assert {-1.0, 1.0} == set(sign.ravel())
    np.testing.assert_array_equal(actual[0], sign)
    np.testing.assert_allclose(actual[1], logarithm, atol=1e-10)


@pytest.mark.parametrize("dim", DIMS)
def test_near_the_identity_single_precision_keeps_its_digits(dim):
    matrix = torch.eye(dim) + 0.3 / dim**0.5 * torch.randn(2000, dim, dim)
    _, logarithm = np.linalg.slogdet(matrix.double().numpy())
    np.testing.assert_allclose(log_abs_det(matrix)[1], logarithm, atol=2e-5)


@pytest.mark.parametrize("dim", [2, 3, 6])
def test_a_leading_zero_is_no_obstacle(dim):
    """The permutation that moves every row up by one has zeros on its diagonal; its determinant is +-1."""
    matrix = torch.eye(dim).roll(1, 0).unsqueeze(0)
    sign, logarithm = log_abs_det(matrix)
    assert sign.item() == (-1) ** (dim - 1) and logarithm.item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_a_singular_matrix_has_a_very_small_determinant(dim):
    """Minus infinity, or about the logarithm of rounding: never NaN or plus infinity."""
    for matrix in (torch.zeros(1, dim, dim), torch.ones(1, dim, dim) - float(dim == 1)):
        assert log_abs_det(matrix)[1].item() < -14.0


def test_gradient_of_log_abs_det_is_the_inverse_transposed():
    matrix = torch.randn(5, 4, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(log_abs_det(matrix)[1].sum(), matrix)
    torch.testing.assert_close(gradient, matrix.detach().inverse().mT)


@pytest.mark.parametrize("dim", DIMS)
def test_matmul_is_numpys(dim):
    a, b = torch.randn(2, 4, 5, dim, dim, dtype=torch.float64)
    np.testing.assert_allclose(matmul(a, b), a.numpy() @ b.numpy(), atol=1e-12)


def test_gradients_of_matmul():
    a, b = torch.randn(2, 3, 4, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(matmul, (a, b))
