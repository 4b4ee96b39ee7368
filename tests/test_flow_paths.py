"""Conditional paths: end points, velocities as time derivatives, and the marginal velocity of Gaussians."""

import pytest
import torch

from sb3_flowsac.flow import CondOTPath, NormalizedPath

F64 = {"dtype": torch.float64}
PATHS = [CondOTPath(), NormalizedPath()]


@pytest.fixture(params=PATHS, ids=lambda path: type(path).__name__)
def path(request):
    return request.param


def test_the_path_leads_from_base_to_target(path):
    y0, y1 = torch.randn(2, 4, 3, **F64), torch.randn(2, 4, 3, **F64)
    torch.testing.assert_close(path.sample(y0, y1, torch.zeros(2, 4, **F64)).x, y0)
    torch.testing.assert_close(path.sample(y0, y1, torch.ones(2, 4, **F64)).x, y1)


def test_the_velocity_is_the_derivative_in_time(path):
    y0, y1, t = torch.randn(2, 4, 3, **F64), torch.randn(2, 4, 3, **F64), torch.rand(2, 4, **F64)
    sample = path.sample(y0, y1, t)
    _, derivative = torch.func.jvp(lambda s: path.sample(y0, y1, s).x, (t,), (torch.ones_like(t),))
    torch.testing.assert_close(sample.velocity, derivative, rtol=1e-11, atol=1e-12)


def test_the_straight_path_is_the_papers():
    y0, y1, t = torch.randn(2, 4, 3), torch.randn(2, 4, 3), torch.rand(2, 4)
    sample = CondOTPath().sample(y0, y1, t)
    torch.testing.assert_close(sample.x, t[..., None] * y1 + (1 - t[..., None]) * y0)
    assert torch.equal(sample.velocity, y1 - y0)
    assert torch.equal(sample.weight, torch.ones(2, 4))


def test_the_normalised_path_is_the_straight_one_divided_by_its_spread():
    y0, y1, t = torch.randn(2, 4, 3, **F64), torch.randn(2, 4, 3, **F64), torch.rand(2, 4, **F64)
    spread = (t**2 + (1 - t) ** 2).sqrt()
    normalised = NormalizedPath().sample(y0, y1, t)
    torch.testing.assert_close(normalised.x * spread[..., None], CondOTPath().sample(y0, y1, t).x)
    torch.testing.assert_close(normalised.weight, spread**2)


@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_the_normalised_path_between_standard_normals_has_no_marginal_velocity(t):
    """
    Regression on moments: x_t is N(0, I) and E[velocity | x] = 0, so the regression on 1, x, x^2, x^3 gives nothing.

    Tolerance: 4.5 standard errors for each of 5 times x 2 components x (2 moments + 4 coefficients).
    """
    n = 200_000
    y0, y1 = torch.randn(n, 2, **F64), torch.randn(n, 2, **F64)
    sample = NormalizedPath().sample(y0, y1, torch.full((n,), t, **F64))
    for i in range(2):
        x, velocity = sample.x[:, i], sample.velocity[:, i]
        assert abs(x.mean()) < 4.5 / n**0.5
        assert abs(x.square().mean() - 1.0) < 4.5 * (2.0 / n) ** 0.5
        design = torch.stack([x**k for k in range(4)], dim=-1)
        inverse = torch.linalg.inv(design.T @ design)
        coefficients = inverse @ design.T @ velocity
        residual_variance = (velocity - design @ coefficients).var()
        assert (coefficients.abs() < 4.5 * (inverse.diagonal() * residual_variance).sqrt()).all()
        assert velocity.abs().mean() > 0.5  # while the conditional velocity is far from zero


def test_the_straight_path_between_standard_normals_has_the_affine_marginal_velocity():
    """The same regression sees the velocity (2t - 1) / (t^2 + (1-t)^2) x of the unnormalised path."""
    n, t = 200_000, 0.2
    sample = CondOTPath().sample(
        torch.randn(n, **F64)[:, None], torch.randn(n, **F64)[:, None], torch.full((n,), t, **F64)
    )
    x, velocity = sample.x[:, 0], sample.velocity[:, 0]
    slope = (x * velocity).mean() / x.square().mean()
    residual = (velocity - slope * x).std() / x.std()
    assert slope.item() == pytest.approx((2 * t - 1) / (t**2 + (1 - t) ** 2), abs=4.5 * residual.item() / n**0.5)
