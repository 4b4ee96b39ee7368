"""Newton's Gaussian: the target itself where that is a Gaussian, and within its bounds where it is none."""

import math

import numpy as np
import pytest
import torch
from improvements import F64, TRANSFORMS, flow_policy, step_of
from torch.distributions import MultivariateNormal

from sb3_flowsac.flow import Identity, Tanh
from sb3_flowsac.isfm import NewtonGaussian
from sb3_flowsac.isfm.newton import FURTHEST, MAX_MOVE, MAX_WIDENING, _curvature


def random_precision(dim):
    """With standard deviations from 0.1 to 0.3 along random axes: narrower than the policies here."""
    axes = torch.linalg.qr(torch.randn(dim, dim, **F64)).Q
    return axes @ torch.diag((0.1 + 0.2 * torch.rand(dim, **F64)) ** -2) @ axes.T


def gaussian_target(mean, precision):
    """Q / alpha whose exponential is a Gaussian of actions: means (batch, dim), precisions (batch or 1, dim, dim)."""

    def log_action_target(actions):
        centred = actions - mean.unsqueeze(1)
        return -0.5 * (centred @ precision * centred).sum(-1)

    return log_action_target


def moments(given, batch, dim):
    """Mean and covariance of a Gaussian, from gradients of its log-density at 0 and at the unit vectors."""
    points = torch.cat([torch.zeros(1, dim, **F64), torch.eye(dim, **F64)]).repeat(batch, 1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(given.log_prob(points).sum(), points)
    covariance = torch.linalg.inv(gradient[:, :1] - gradient[:, 1:])
    return (covariance @ gradient[:, :1].mT).squeeze(-1), covariance


@pytest.mark.parametrize("dim", [1, 2, 6])
@TRANSFORMS
def test_a_gaussian_target_is_found_from_afar(perturb, transform, dim):
    """In latents, by the slope of the transform at the target's mean; the draws have its moments, too."""
    policy, batch, n = flow_policy(perturb, dim, batch=20, n_steps=4), 20, 4000
    mean, precision = torch.rand(batch, dim, **F64) * 1.2 - 0.6, random_precision(dim)
    improvement = step_of(policy, transform, gaussian_target(mean, precision[None]))
    with torch.no_grad():
        latents, log_prob = NewtonGaussian().given(improvement, n).sample_with_log_prob()
    slope = torch.diag_embed(1.0 / (1.0 - mean**2) if transform.squashes else torch.ones_like(mean))
    covariance = slope @ torch.linalg.inv(precision) @ slope
    law = MultivariateNormal(mean.atanh() if transform.squashes else mean, covariance)
    expected = law.log_prob(latents.transpose(0, 1)).T
    torch.testing.assert_close(
        log_prob, expected, rtol=0, atol=5e-3
    )  # a ridge of 1e-6, in draws of up to five deviations
    assert (log_prob - expected).abs().mean() < 5e-4
    torch.testing.assert_close(latents.mean(1), law.mean, rtol=0, atol=1e-4)  # antithetic
    whitened = torch.linalg.solve_triangular(law.scale_tril, (latents - law.mean.unsqueeze(1)).mT, upper=False)
    # Half of the draws are independent; variances of their squares are at most 2
    error = whitened @ whitened.mT / n - torch.eye(dim, **F64)
    assert error.abs().max() < 5 * math.sqrt(2 / (n / 2))
    assert error.mean(0).abs().max() < 5 * math.sqrt(2 / (n / 2) / batch) + 1e-4


def test_precisions_that_differ_by_a_factor_are_found_in_one_dimension(perturb):
    batch = 10
    mean, factor = torch.rand(batch, 1, **F64) - 0.5, 0.5 + 1.5 * torch.rand(batch, 1, 1, **F64)
    improvement = step_of(
        flow_policy(perturb, batch=batch, n_steps=4), Identity(), gaussian_target(mean, 30.0 * factor)
    )
    found_mean, found_covariance = moments(NewtonGaussian().given(improvement, 4), batch, 1)
    torch.testing.assert_close(found_mean, mean, rtol=0, atol=1e-4)
    torch.testing.assert_close(found_covariance, 1.0 / (30.0 * factor), rtol=1e-4, atol=0)


def test_precisions_that_differ_by_a_factor_are_found_on_average_in_more(perturb):
    """The matrix of all states errs by the chance correlation of factors and steps, about 1 / sqrt(3 batch)."""
    batch = 2000
    mean, factor = torch.rand(batch, 2, **F64) - 0.5, 0.5 + 1.5 * torch.rand(batch, 1, 1, **F64)
    precision = factor * random_precision(2)
    improvement = step_of(flow_policy(perturb, 2, batch=batch, n_steps=2), Identity(), gaussian_target(mean, precision))
    found_mean, found_covariance = moments(NewtonGaussian().given(improvement, 2), batch, 2)
    root = torch.linalg.cholesky(precision)
    assert (root.mT @ found_covariance @ root - torch.eye(2, **F64)).abs().max() < 0.1
    assert (found_mean - mean).norm(dim=-1).max() < 0.1


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("curvature", [0.0, 0.3, 50.0], ids=["flat", "convex", "very-convex"])
def test_without_curvature_the_deviation_is_a_multiple_of_the_policys(perturb, dim, curvature):
    """Along the axes, and no further than the box."""
    policy = flow_policy(perturb, dim, batch=5, n_steps=4)
    shape = torch.diag(torch.linspace(1.0, 2.0, dim, **F64))
    target = gaussian_target(torch.zeros(5, dim, **F64), -curvature * shape[None])
    mean, covariance = moments(NewtonGaussian().given(step_of(policy, Identity(), target), 4), 5, dim)
    variances, axes = torch.linalg.eigh(covariance)
    spread = (axes.mT @ policy.base.scale_tril).norm(dim=-1)
    torch.testing.assert_close(
        variances.sqrt(), MAX_WIDENING * spread, rtol=1e-5, atol=0
    )  # a ridge of 1e-6 turns the axes
    assert (mean.abs() <= FURTHEST + 1e-9).all()


def test_an_indefinite_curvature_widens_within_the_bound(perturb):
    policy = flow_policy(perturb, 3, batch=5, n_steps=4)
    target = gaussian_target(torch.zeros(5, 3, **F64), torch.diag(torch.tensor([40.0, 1.0, -40.0], **F64))[None])
    _, covariance = moments(NewtonGaussian().given(step_of(policy, Identity(), target), 4), 5, 3)
    variances, axes = torch.linalg.eigh(covariance)
    spread = (axes.mT @ policy.base.scale_tril).norm(dim=-1)
    assert (variances.sqrt() <= MAX_WIDENING * spread * (1 + 1e-9)).all()
    torch.testing.assert_close(variances[:, 0], torch.full((5,), 1 / 40, **F64), rtol=1e-4, atol=0)


def test_where_curvature_explains_nothing_it_stays_with_the_policy(perturb):
    """A Q whose gradient jumps at random: the Gaussian has the mean of the pair of actions and the base's spread."""
    policy = flow_policy(perturb, 3, batch=200, n_steps=4)
    improvement = step_of(policy, Identity(), lambda actions: (10.0 * (1e4 * actions).sin()).sum(-1))
    newton, state = NewtonGaussian(), torch.get_rng_state()
    start = policy.push(policy.noise(newton.n_anchors, antithetic=True)).mean(1)
    torch.set_rng_state(state)
    mean, covariance = moments(newton.given(improvement, 4), 200, 3)
    torch.testing.assert_close(mean, start.clamp(-FURTHEST, FURTHEST))
    assert (torch.linalg.eigvalsh(covariance).sqrt().amax(-1) <= policy.base.scale_tril.norm(dim=(1, 2))).all()


def test_the_curvatures_explain_a_parabola_and_no_noise():
    """The factor of a state follows the noise along its own pair, one direction of twelve."""
    steps, noise = torch.randn(5000, 1, 12, **F64), torch.randn(5000, 1, 12, **F64)
    explained = [_curvature(steps, -4.0 * steps + size * noise)[2].item() for size in (0.0, 40.0)]
    assert explained[0] == pytest.approx(1.0, abs=1e-5) and explained[1] < 0.1
    assert _curvature(steps, 0.0 * steps)[2] == 1.0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_mean_moves_by_a_bounded_number_of_deviations(perturb, sign):
    policy = flow_policy(perturb, batch=4, log_std=-3.0)
    improvement = step_of(policy, Identity(), lambda actions: sign * 1e5 * actions[..., 0])
    newton, state = NewtonGaussian(), torch.get_rng_state()
    start = policy.push(policy.noise(newton.n_anchors, antithetic=True)).mean(1)
    torch.set_rng_state(state)
    mean, _ = moments(newton.given(improvement, 4), 4, 1)
    torch.testing.assert_close(mean, start + sign * MAX_MOVE * policy.base.scale_tril[:, 0])


def test_a_target_narrower_than_actions_can_tell_apart_is_not_overstepped(perturb):
    """The draws keep a width that single precision resolves, and the mean goes to the target's."""
    flow = flow_policy(perturb, log_std=-6.0).flow.float()
    policy = flow(0.5 * torch.randn(4, 3))
    mean = policy.base.loc.double() + 0.05

    def target(actions):
        return -0.5e16 * (actions.double() - mean.unsqueeze(1)).square().sum(-1)

    with torch.no_grad():
        improvement = step_of(policy, Identity(), target)
        latents, _ = NewtonGaussian(max_move=math.inf).given(improvement, 8).sample_with_log_prob()
    assert (latents.mean(1) - mean).abs().max() < 1e-4


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("slope", [3.0, 100.0])
def test_draws_for_a_target_at_the_bound_stay_on_its_side(perturb, dim, slope):
    """The slope of tanh is nearly zero there: the latents' deviations are bounded by the policy's."""
    policy = flow_policy(perturb, dim, batch=10, n_steps=4)
    given = NewtonGaussian().given(step_of(policy, Tanh(), lambda actions: slope * actions.sum(-1)), 100)
    mean, covariance = moments(given, 10, dim)
    assert (mean.tanh() > 0.9).all()
    deviations, policys = covariance.diagonal(dim1=1, dim2=2).sqrt(), policy.base.scale_tril.norm(dim=-1)
    assert (deviations <= MAX_WIDENING * policys * (1 + 1e-6)).all()
    assert (given.sample_with_log_prob()[0].tanh() > -0.5).double().mean() > 0.99


@TRANSFORMS
@pytest.mark.parametrize("loc", [0.9, 5.0, -300.0])
def test_the_mean_stays_in_the_box(perturb, transform, loc):
    """Also of a policy that is far outside it, or at its bound, whose deviation tanh has made zero."""
    policy = flow_policy(perturb, dim=2, batch=3)
    policy.base.loc.fill_(loc)
    improvement = step_of(policy, transform, lambda actions: loc * actions.sum(-1))
    latents, log_prob = NewtonGaussian().given(improvement, 2000).sample_with_log_prob()
    assert latents.isfinite().all() and log_prob.isfinite().all()
    middle = latents.mean(1)  # antithetic: the mean itself
    assert (transform(middle).abs() <= FURTHEST + 1e-9).all() and (middle.sign() == math.copysign(1, loc)).all()


@pytest.mark.parametrize(
    "target",
    [
        lambda actions: 0.0 * actions.sum(-1),
        lambda actions: torch.nan * actions.sum(-1),
        lambda actions: torch.inf * actions.sum(-1),
        lambda actions: actions[..., 0].sqrt(),
        lambda actions: 1e30 * torch.sin(actions).sum(-1),
        lambda actions: 1e38 * torch.sin(9 * actions).sum(-1),
        lambda actions: 1e-40 * torch.sin(actions).sum(-1),
    ],
    ids=["zero", "nan", "inf", "partly-nan", "huge", "overflowing", "tiny"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@TRANSFORMS
def test_degenerate_gradients_leave_a_finite_proposal(perturb, transform, target, dtype):
    for dim, batch in ((1, 1), (3, 1), (3, 4)):
        policy = flow_policy(perturb, dim, batch, n_steps=2)
        policy.base.loc, policy.base.scale_tril = policy.base.loc.to(dtype), policy.base.scale_tril.to(dtype)
        policy.push = lambda noise, policy=policy: policy.base.unwhiten(noise)
        latents, log_prob = NewtonGaussian().given(step_of(policy, transform, target), 8).sample_with_log_prob()
        assert latents.dtype == log_prob.dtype == dtype
        assert latents.isfinite().all() and log_prob.isfinite().all()


def test_a_curvature_that_overflows_counts_as_none(perturb):
    policy = flow_policy(perturb, batch=200, n_steps=2)
    policy.base.loc, policy.base.scale_tril = policy.base.loc.float(), policy.base.scale_tril.float()
    policy.push = policy.base.unwhiten
    steep = step_of(
        policy, Identity(), lambda actions: -2e37 * actions.square().sum(-1)
    )  # finite, but not summed over states
    latents, _ = NewtonGaussian().given(steep, 100).sample_with_log_prob()
    torch.testing.assert_close(latents.std(1), MAX_WIDENING * policy.base.scale_tril[:, 0], rtol=0.5, atol=0)


@pytest.mark.parametrize("dim", [1, 2, 10, 38])
@pytest.mark.parametrize("batch", [1, 3])
def test_few_gradients_in_many_dimensions(perturb, dim, batch):
    """Three differences for each state do not determine the curvature of 38 dimensions: it stays within the bounds."""
    policy = flow_policy(perturb, dim, batch, n_steps=2)
    target = gaussian_target(torch.full((batch, dim), 0.3, **F64), random_precision(dim)[None])
    mean, covariance = moments(NewtonGaussian().given(step_of(policy, Identity(), target), 4), batch, dim)
    variances, axes = torch.linalg.eigh(covariance)
    widest = (policy.base.scale_tril @ policy.base.scale_tril.mT).diagonal(dim1=1, dim2=2).sum(-1).sqrt()
    assert (variances > 0).all() and (variances[:, -1].sqrt() <= MAX_WIDENING * widest).all()
    assert (mean.abs() <= FURTHEST + 1e-6).all() and axes.isfinite().all()


@pytest.mark.parametrize("n_anchors", [0, 1, 3, -2, 2.0, "6", True, None, np.nan])
def test_wrong_numbers_of_anchors_are_named(n_anchors):
    with pytest.raises(ValueError, match="n_anchors"):
        NewtonGaussian(n_anchors)


@pytest.mark.parametrize("n_anchors", [2, 6, 10])
def test_every_even_number_of_anchors_finds_a_gaussian_target(perturb, n_anchors):
    mean = torch.rand(20, 2, **F64) - 0.5
    improvement = step_of(
        flow_policy(perturb, 2, 20, n_steps=2), Tanh(), gaussian_target(mean, random_precision(2)[None])
    )
    latents, _ = NewtonGaussian(n_anchors).given(improvement, 2).sample_with_log_prob()
    torch.testing.assert_close(latents.mean(1), mean.atanh(), rtol=0, atol=1e-4)
