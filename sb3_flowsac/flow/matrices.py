"""
Products and determinants of very many very small matrices.

Torch's batched kernels spend up to a microsecond on each small matrix. Here the batch is the last, contiguous axis
instead: each operation runs over all matrices at once, and the loops are over rows and columns.
"""

import torch

# Larger products are quicker one matrix at a time
LARGEST_LOOP = 7


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """
    Products of square matrices.

    :param a: (..., d, d)
    :param b: (..., d, d)
    :return: (..., d, d)
    """
    if a.shape[-1] > LARGEST_LOOP:
        return a @ b
    left, right = _batch_last(a), _batch_last(b)
    product = left[:, :1] * right[:1]
    for k in range(1, a.shape[-1]):
        product = torch.addcmul(product, left[:, k : k + 1], right[k : k + 1])
    return product.permute(2, 0, 1).view_as(a)


def log_abs_det(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Sign and log |det|, by Gaussian elimination.

    Each pivot row is the sum of two rows, with the sign that adds up their leading entries: that leaves the determinant
    as it is, but for that sign, and a pivot is small only where both of them are. Matrices near the identity, such as
    those of solver steps, need no more.

    :param matrix: (..., d, d)
    :return: sign and logarithm, both (...)
    """
    rest = _batch_last(matrix)
    one, tiny = rest.new_ones(()), torch.finfo(rest.dtype).eps ** 2
    pivots = []
    while len(rest) > 1:
        signs = torch.copysign(one, rest[:2, :1])
        row = (signs * rest[:2]).sum(0)
        pivot = row[0].clamp(min=tiny)
        pivots.append(signs[0, 0] * pivot)
        rest = torch.addcmul(rest[1:, 1:], rest[1:, :1], row[1:] / pivot, value=-1.0)
    factors = torch.stack([*pivots, rest[0, 0]])
    shape = matrix.shape[:-2]
    return factors.sign().prod(0).view(shape), factors.abs().log().sum(0).view(shape)


def _batch_last(matrix: torch.Tensor) -> torch.Tensor:
    """(..., d, d) to (d, d, product of the rest), contiguous."""
    return matrix.reshape(-1, *matrix.shape[-2:]).permute(1, 2, 0).contiguous()
