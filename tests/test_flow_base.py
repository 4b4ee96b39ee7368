"""Base distributions and the whitened coordinates that they define, against torch.distributions."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import MultivariateNormal

from sb3_flowsac.flow import Gaussian, GaussianBase, StandardBase, make_flow

F64 = {"dtype": torch.float64}


@pytest.fixture(params=[1, 2, 4])
def gaussian(request, perturb):
    """The base distributions of three states, correlated and of unequal spread."""
    base = perturb(GaussianBase(5, request.param, log_std_init=-0.5).double(), 0.3)
    return base(torch.randn(3, 5, **F64))


def test_log_prob_is_that_of_torch(gaussian):
    u = torch.randn(3, 6, gaussian.loc.shape[1], **F64)
    reference = MultivariateNormal(gaussian.loc.unsqueeze(1), scale_tril=gaussian.scale_tril.unsqueeze(1))
    torch.testing.assert_close(gaussian.log_prob(u), reference.log_prob(u), rtol=1e-12, atol=1e-12)


def test_whiten_and_unwhiten_are_inverse_and_have_the_covariance(gaussian):
    y = torch.randn(3, 6, gaussian.loc.shape[1], **F64)
    u = gaussian.unwhiten(y)
    for b in range(3):
        torch.testing.assert_close(u[b], gaussian.loc[b] + y[b] @ gaussian.scale_tril[b].T, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gaussian.whiten(u), y, rtol=1e-11, atol=1e-11)
    jacobian = torch.func.jacrev(gaussian.unwhiten)(y)[0, 0, :, 0, 0]
    assert gaussian.log_scale[0].item() == pytest.approx(jacobian.slogdet()[1].item(), abs=1e-12)


def test_scale_is_lower_triangular_with_a_positive_diagonal(gaussian):
    assert torch.equal(gaussian.scale_tril, gaussian.scale_tril.tril())
    assert (gaussian.scale_tril.diagonal(dim1=-2, dim2=-1) > 0).all()
    if gaussian.loc.shape[1] > 1:
        assert (gaussian.scale_tril.tril(-1).abs().amax((-1, -2)) > 1e-3).all()


@pytest.mark.parametrize(
    ("base", "log_std_init"), [("gaussian", -6.0), ("gaussian", 1.0), ("linear", -7.0), ("linear", 2.0)]
)
def test_a_new_base_has_the_spread_that_is_asked_for(base, log_std_init):
    """Also where its range ends."""
    log_scale = make_flow(5, 3, base=base, log_std_init=log_std_init).base(torch.zeros(1, 5)).log_scale
    assert log_scale.item() == pytest.approx(3.0 * log_std_init, abs=1e-5)


def test_a_new_base_is_isotropic_with_means_half_as_wide_as_it():
    """Of features of root mean square 1, around 0; so a new policy is a feedback law beside its noise."""
    features = F.rms_norm(torch.randn(4000, 100), (100,))
    gaussian = GaussianBase(100, 3, log_std_init=-1.5)(features)
    torch.testing.assert_close(gaussian.scale_tril, (math.exp(-1.5) * torch.eye(3)).expand(4000, 3, 3))
    relative = gaussian.loc / math.exp(-1.5)
    torch.testing.assert_close(relative.mean(0), torch.zeros(3), atol=0.05, rtol=0.0)
    assert ((relative.std(0) > 0.4) & (relative.std(0) < 0.75)).all()


def test_a_new_base_is_standard_unless_told_otherwise_and_saves_its_head_alone():
    base = GaussianBase(5, 3)
    assert torch.equal(base(torch.randn(2, 5)).scale_tril, torch.eye(3).expand(2, -1, -1))
    assert set(base.state_dict()) == {"head.weight", "head.bias"}


def test_detach_stops_gradients(perturb):
    gaussian = perturb(GaussianBase(5, 2))(torch.randn(3, 5))
    detached = gaussian.detach()
    assert gaussian.loc.requires_grad and gaussian.scale_tril.requires_grad
    assert not detached.loc.requires_grad and not detached.scale_tril.requires_grad
    assert torch.equal(detached.loc, gaussian.loc) and torch.equal(detached.scale_tril, gaussian.scale_tril)


@pytest.mark.parametrize("shift", [100.0, -100.0])
def test_everything_is_bounded(shift):
    base = GaussianBase(5, 2)
    with torch.no_grad():
        base.head.bias += shift
    gaussian = base(torch.zeros(1, 5))
    scales = gaussian.scale_tril.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(scales.log(), torch.full((1, 2), 2.0 if shift > 0 else -7.0), atol=0.02, rtol=0.0)
    torch.testing.assert_close(gaussian.loc, torch.full((1, 2), math.copysign(4.0, shift)), atol=0.02, rtol=0.0)
    assert (gaussian.scale_tril[:, 1, 0] / scales[:, 1]).item() == pytest.approx(math.copysign(2.0, shift), abs=0.02)


@pytest.mark.parametrize("wanted", [1e-4, 50.0])
def test_a_scale_beyond_its_bounds_is_approached_and_comes_back(wanted):
    """Gradient ascent to samples far closer, or far wider, than the bounds allow; then to samples of spread one."""
    base = GaussianBase(1, 1)

    def fit(spread, steps):
        optimizer = torch.optim.Adam(base.parameters(), lr=0.1, betas=(0.9, 0.9))
        samples = spread * torch.tensor([[[-1.0], [1.0]]])
        for _ in range(steps):
            optimizer.zero_grad()
            (-base(torch.zeros(1, 1)).log_prob(samples).mean()).backward()
            optimizer.step()
        return base(torch.zeros(1, 1)).scale_tril.item()

    assert math.log(fit(wanted, 300)) == pytest.approx(2.0 if wanted > 1 else -7.0, abs=0.5)
    assert fit(1.0, 1000) == pytest.approx(1.0, rel=0.05)


def test_standard_base_is_standard_in_every_state():
    gaussian = StandardBase(2)(torch.randn(3, 5, **F64))
    u = torch.randn(3, 4, 2, **F64)
    reference = MultivariateNormal(torch.zeros(2, **F64), torch.eye(2, **F64))
    torch.testing.assert_close(gaussian.log_prob(u), reference.log_prob(u))
    assert torch.equal(gaussian.whiten(u), u) and torch.equal(gaussian.unwhiten(u), u)


def test_only_the_gaussian_base_is_learnable():
    assert GaussianBase(5, 2).learnable and not StandardBase(2).learnable
    assert not list(StandardBase(2).parameters())
    assert isinstance(GaussianBase(5, 1)(torch.zeros(1, 5)), Gaussian)
