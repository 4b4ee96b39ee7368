"""Sampling distributions: each draws from the density that it states, and mixtures bound the weights."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from sb3_flowsac.flow import ConditionalFlow, GaussianBase, Identity, StructuredField, Tanh
from sb3_flowsac.isfm import (
    CurrentPolicy,
    Mixture,
    UniformBox,
    defensive_policy,
    get_sampling_distribution,
    self_normalize,
)

F64 = {"dtype": torch.float64}
TRANSFORMS = pytest.mark.parametrize("transform", [Identity(), Tanh()], ids=["identity", "tanh"])


@pytest.fixture
def make_policy(perturb):
    """A non-Gaussian policy in ``batch`` states, without gradients; steps so fine that both densities agree."""

    def make(dim=1, batch=1):
        flow = ConditionalFlow(GaussianBase(3, dim, -0.7), StructuredField(3, dim, hidden=8), n_steps=32)
        with torch.no_grad():
            return perturb(flow.double())(0.5 * torch.randn(batch, 3, **F64))

    return make


def everywhere(dim):
    """
    The centres of cells of latents, and a cell's volume. The density of every proposal is below 1e-9 outside, and the
    bounds of the box lie between cells.
    """
    step = 0.01 if dim == 1 else 0.1
    axis = -12.0 + step * (torch.arange(round(24.0 / step), **F64) + 0.5)
    grid = axis.unsqueeze(-1) if dim == 1 else torch.cartesian_prod(axis, axis)
    return grid.unsqueeze(0), step**dim


@pytest.mark.parametrize("dim", [1, 2])
@TRANSFORMS
@pytest.mark.parametrize(
    "proposals",
    [
        CurrentPolicy(),
        UniformBox(),
        defensive_policy(),
        Mixture([UniformBox(), CurrentPolicy(), UniformBox()], [0.5, 0.3, 0.2]),
        Mixture([defensive_policy(0.5), UniformBox()], [0.6, 0.4]),
    ],
    ids=["policy", "uniform", "defensive", "three", "nested"],
)
def test_log_prob_is_a_density(make_policy, proposals, transform, dim):
    grid, cell = everywhere(dim)
    with torch.no_grad():
        density = proposals.log_prob(make_policy(dim), transform, grid).exp()
    assert density.sum().item() * cell == pytest.approx(1.0, abs=1e-4)


@TRANSFORMS
def test_uniform_proposals_are_uniform_in_the_box(make_policy, transform):
    latents, _ = UniformBox().sample_with_log_prob(make_policy(2), transform, 5000)
    actions = transform(latents)[0]
    assert latents.shape == (1, 5000, 2)
    for i in range(2):
        assert kstest(actions[:, i].numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
    assert abs(np.corrcoef(actions.T)[0, 1]) < 4.5 / 5000**0.5


@TRANSFORMS
@pytest.mark.parametrize(
    "proposals", [CurrentPolicy(), UniformBox(), defensive_policy()], ids=["policy", "uniform", "defensive"]
)
def test_samples_carry_their_own_log_prob(make_policy, proposals, transform):
    policy = make_policy(dim=2, batch=3)
    with torch.no_grad():
        latents, log_prob = proposals.sample_with_log_prob(policy, transform, 16)
        again = proposals.log_prob(policy, transform, latents)
    assert latents.shape == (3, 16, 2) and log_prob.shape == (3, 16)
    torch.testing.assert_close(log_prob, again, rtol=0, atol=1e-3)  # given latents by the trace integral of 32 steps


@TRANSFORMS
@pytest.mark.parametrize("n", [2, 10, 16, 33])
def test_weights_of_a_mixture_are_unbiased_for_every_number_of_proposals(make_policy, transform, n):
    """The mean of target / density is 1 within 4.5 standard errors, also where n times the share is no whole number."""
    policy = make_policy(batch=4000 // n * 8)
    with torch.no_grad():
        latents, log_density = defensive_policy(0.125).sample_with_log_prob(policy, transform, n)
        # The target: actions with density 3/4 (1 - a^2) on [-1, 1], as a density of latents
        actions = transform(latents)[..., 0]
        target = 0.75 * (1 - actions**2).clamp(min=0.0) * transform.log_det(latents).exp()
        mean = (target / log_density.exp()).mean(-1)
    assert abs(mean.mean() - 1.0) < 4.5 * mean.std() / len(mean) ** 0.5


@pytest.mark.parametrize("share", [0.125, 0.5])
@TRANSFORMS
def test_the_defensive_share_bounds_the_weights(make_policy, transform, share):
    """target / h <= 2^d max pi / share wherever the target has mass, however far its tails reach beyond the policy's."""
    grid, _ = everywhere(1)
    with torch.no_grad():
        log_h = defensive_policy(share).log_prob(make_policy(), transform, grid)
    actions = transform(grid)[..., 0]
    density = 4.0 * torch.exp(4.0 * (actions - 1.0)) / (1.0 - np.exp(-8.0))  # of actions on the box, largest at a = 1
    weights = (density.log() + transform.log_det(grid) + transform.log_indicator(grid) - log_h).exp()
    bound = 2.0 * density[transform.log_indicator(grid) == 0].max() / share
    assert weights.max() <= bound * (1 + 1e-9)
    assert weights.max() > 0.25 * bound


@pytest.mark.parametrize("n", [16, 8, 9, 40])
def test_the_uniform_share_of_a_mixture_is_drawn(make_policy, n):
    """A policy far outside the box: what lies inside was drawn uniformly."""
    policy = make_policy(batch=3)
    policy.base.loc.add_(50.0)
    latents, log_density = defensive_policy().sample_with_log_prob(policy, Identity(), n)
    assert ((latents[..., 0].abs() <= 1).sum(-1) == max(1, round(n / 8))).all()
    weights = self_normalize(Identity().log_indicator(latents) - log_density)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, **F64))


@pytest.mark.parametrize(
    "shares", [[0.5], [0.5, 0.4], [1.0, 0.0], [1.5, -0.5], [0.5, 0.5, 0.0], [], [float("nan"), 0.5], [float("nan")] * 2]
)
def test_shares_that_are_none_are_named(shares):
    with pytest.raises(ValueError, match="shares"):
        Mixture([CurrentPolicy(), UniformBox()], shares)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5])
def test_defensive_share_out_of_range_is_named(share):
    with pytest.raises(ValueError, match="share"):
        defensive_policy(share)


def test_a_mixture_needs_a_component():
    with pytest.raises(ValueError, match="components"):
        Mixture([], [])


def test_a_mixture_of_mixtures_is_the_mixture_of_all_components(make_policy):
    """Also where the shares that are drawn are not the nominal ones: n = 9 of shares 0.5, 0.35 and 0.15."""
    policy = make_policy(batch=3)
    flat = Mixture([UniformBox(), CurrentPolicy(), UniformBox()], [0.5, 0.35, 0.15])
    nested = Mixture([UniformBox(), Mixture([CurrentPolicy(), UniformBox()], [0.7, 0.3])], [0.5, 0.5])
    results = []
    for mixture in (flat, nested):
        torch.manual_seed(0)
        results.append(mixture.sample_with_log_prob(policy, Tanh(), 9))
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_too_few_proposals_for_a_mixture_are_named(make_policy):
    with pytest.raises(ValueError, match="n_proposals=1"):
        defensive_policy().sample_with_log_prob(make_policy(), Identity(), 1)


def test_names_and_instances():
    own = UniformBox()
    assert get_sampling_distribution(own) is own
    assert isinstance(get_sampling_distribution("policy"), CurrentPolicy)
    assert isinstance(get_sampling_distribution("uniform"), UniformBox)
    mixture = get_sampling_distribution("defensive")
    assert isinstance(mixture, Mixture) and mixture.shares == (0.875, 0.125)


def test_unknown_names_and_types_are_named():
    with pytest.raises(ValueError, match=r"'langevin'.*defensive.*policy.*uniform"):
        get_sampling_distribution("langevin")
    for wrong in (None, 3, UniformBox):
        with pytest.raises(TypeError, match="sampling_distribution"):
            get_sampling_distribution(wrong)


def test_policy_proposals_come_in_antithetic_pairs(make_policy):
    policy = make_policy(dim=2, batch=3)
    start = torch.get_rng_state()
    latents, log_density = CurrentPolicy().sample_with_log_prob(policy, Identity(), 7)
    torch.set_rng_state(start)
    noise = torch.randn(3, 4, 2, **F64)
    expected, expected_log_prob = policy.push_with_log_prob(torch.cat([noise, -noise[:, :3]], dim=1))
    np.testing.assert_allclose(latents, expected)
    np.testing.assert_allclose(log_density, expected_log_prob)


def test_the_mean_of_antithetic_proposals_of_a_gaussian_has_no_error(perturb):
    flow = ConditionalFlow(
        perturb(GaussianBase(3, 2, -0.7)), StructuredField(3, 2, hidden=8)
    ).double()  # the field starts at 0
    with torch.no_grad():
        policy = flow(torch.randn(4, 3, **F64))
        latents, _ = CurrentPolicy().sample_with_log_prob(policy, Identity(), 6)
    np.testing.assert_allclose(latents.mean(1), policy.base.loc, atol=1e-12)
