"""Sampling distributions: each draws from the density that it states, under whatever name it was asked for."""

import numpy as np
import pytest
import torch
from improvements import F64, TRANSFORMS, defensive, everywhere, flow_policy, step_of
from scipy.stats import kstest

from sb3_flowsac.flow import Identity, Tanh, make_flow
from sb3_flowsac.isfm import (
    CurrentPolicy,
    Mixture,
    NewtonGaussian,
    UniformBox,
    get_sampling_distribution,
)
from sb3_flowsac.isfm.registry import SAMPLING_DISTRIBUTIONS

EVERY = {
    "policy": CurrentPolicy(),
    "uniform": UniformBox(),
    "newton": NewtonGaussian(),
    "of-all": Mixture(
        [CurrentPolicy(), UniformBox(), NewtonGaussian()],
        [0.4, 0.3, 0.3],
    ),
    "nested": Mixture(
        [defensive(NewtonGaussian(), 0.5), Mixture([UniformBox(), CurrentPolicy()], [0.6, 0.4])], [0.6, 0.4]
    ),
}
EVERY_ONE = pytest.mark.parametrize("proposals", EVERY.values(), ids=EVERY)


@pytest.mark.parametrize("dim", [1, 2])
@TRANSFORMS
@EVERY_ONE
def test_log_prob_is_a_density(perturb, proposals, transform, dim):
    """In three states at once, whose quadrature resolves the narrowest kernel."""
    improvement = step_of(flow_policy(perturb, dim, batch=3, n_steps=16), transform)
    grid, cell = everywhere(dim)
    with torch.no_grad():
        density = proposals.given(improvement, 16).log_prob(grid.expand(3, -1, -1)).exp()
    np.testing.assert_allclose(density.sum(-1) * cell, 1.0, atol=1e-4)


@TRANSFORMS
@EVERY_ONE
def test_draws_follow_the_density(perturb, proposals, transform):
    """Over many states, the means of three functions of the draws are those under the stated density, by quadrature."""
    batch = 60
    improvement = step_of(flow_policy(perturb, batch=batch), transform)
    grid, cell = everywhere(1, step=0.02)
    with torch.no_grad():
        given = proposals.given(improvement, 32)
        latents, _ = given.sample_with_log_prob()
        density = given.log_prob(grid.expand(batch, -1, -1)).exp()
    # Not the few states in which two draws of the policy lie so near that their kernels are narrower than cells
    resolved = (density.sum(-1) * cell - 1.0).abs() < 1e-4
    assert resolved.float().mean() > 0.7
    for function in (torch.tanh, torch.cos, lambda u: (u > 0.2).to(u.dtype)):
        expected = (density * function(grid[..., 0])).sum(-1) * cell
        error = (function(latents[..., 0]).mean(-1) - expected)[resolved]
        assert abs(error.mean()) < 4.5 * error.std() / len(error) ** 0.5 + 1e-4


@TRANSFORMS
@EVERY_ONE
def test_samples_carry_their_own_log_prob(perturb, proposals, transform):
    improvement = step_of(flow_policy(perturb, dim=2, batch=3), transform)
    with torch.no_grad():
        given = proposals.given(improvement, 16)
        latents, log_prob = given.sample_with_log_prob()
        again = given.log_prob(latents)
    assert latents.shape == (3, 16, 2) and log_prob.shape == (3, 16)
    torch.testing.assert_close(log_prob, again, rtol=0, atol=1e-3)  # given latents by the trace integral of 32 steps


@TRANSFORMS
@pytest.mark.parametrize("name", sorted(set(SAMPLING_DISTRIBUTIONS) - {"policy"}))  # which need not cover the box
@pytest.mark.parametrize("n", [8, 33])
def test_weights_are_unbiased(perturb, transform, name, n):
    """The mean of target / density is 1 within 4.5 standard errors, also where n times a share is no whole number."""
    improvement = step_of(flow_policy(perturb, batch=400, n_steps=8), transform)
    with torch.no_grad():
        latents, log_density = get_sampling_distribution(name).given(improvement, n).sample_with_log_prob()
        # The target: actions with density 3/4 (1 - a^2) on [-1, 1], as a density of latents
        actions = transform(latents)[..., 0]
        target = 0.75 * (1 - actions**2).clamp(min=0.0) * transform.log_det(latents).exp()
        mean = (target / log_density.exp()).mean(-1)
    assert abs(mean.mean() - 1.0) < 4.5 * mean.std() / len(mean) ** 0.5


@TRANSFORMS
def test_uniform_proposals_are_uniform_in_the_box(perturb, transform):
    latents, _ = UniformBox().given(step_of(flow_policy(perturb, 2), transform), 5000).sample_with_log_prob()
    actions = transform(latents)[0]
    assert latents.shape == (1, 5000, 2)
    for i in range(2):
        assert kstest(actions[:, i].numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
    assert abs(np.corrcoef(actions.T)[0, 1]) < 4.5 / 5000**0.5


def test_policy_proposals_come_in_antithetic_pairs(perturb):
    policy = flow_policy(perturb, dim=2, batch=3)
    start = torch.get_rng_state()
    latents, log_density = CurrentPolicy().given(step_of(policy, Identity()), 7).sample_with_log_prob()
    torch.set_rng_state(start)
    noise = torch.randn(3, 4, 2, **F64)
    expected, expected_log_prob = policy.push_with_log_prob(torch.cat([noise, -noise[:, :3]], dim=1))
    np.testing.assert_allclose(latents, expected)
    np.testing.assert_allclose(log_density, expected_log_prob)


def test_the_mean_of_antithetic_proposals_of_a_gaussian_has_no_error(perturb):
    flow = make_flow(3, 2, log_std_init=-0.7).double()
    perturb(flow.base)  # the field starts at 0
    with torch.no_grad():
        policy = flow(torch.randn(4, 3, **F64))
        latents, _ = CurrentPolicy().given(step_of(policy, Identity()), 6).sample_with_log_prob()
    np.testing.assert_allclose(latents.mean(1), policy.base.loc, atol=1e-12)


COMPONENTS = {
    "defensive": ([CurrentPolicy, UniformBox], (0.875, 0.125)),
    "newton": ([CurrentPolicy, NewtonGaussian, UniformBox], (0.5, 0.375, 0.125)),
}


def test_names_and_instances():
    own = UniformBox()
    assert get_sampling_distribution(own) is own
    assert isinstance(get_sampling_distribution("policy"), CurrentPolicy)
    assert isinstance(get_sampling_distribution("uniform"), UniformBox)
    for name, (components, shares) in COMPONENTS.items():
        mixture = get_sampling_distribution(name)
        assert isinstance(mixture, Mixture) and [type(c) for c in mixture.components] == components
        assert mixture.shares == shares
    assert set(SAMPLING_DISTRIBUTIONS) == {"policy", "uniform", *COMPONENTS}


def test_unknown_names_and_types_are_named():
    with pytest.raises(ValueError, match=r"sampling_distribution.*defensive.*newton.*policy.*uniform.*'langevin'"):
        get_sampling_distribution("langevin")
    for wrong in (None, 3, UniformBox):
        with pytest.raises(TypeError, match="sampling_distribution"):
            get_sampling_distribution(wrong)


@pytest.mark.parametrize("name", sorted(SAMPLING_DISTRIBUTIONS))
@pytest.mark.parametrize("dim", [1, 8, 38])
@pytest.mark.parametrize("n", [6, 16, 17])
def test_every_named_distribution_draws_in_every_dimension(perturb, name, dim, n):
    """In single states and in batches, finite latents and densities, as many as were asked for."""
    for batch in (1, 5):
        improvement = step_of(flow_policy(perturb, dim, batch, n_steps=2), Tanh())
        proposals = get_sampling_distribution(name)
        proposals.check(n)
        with torch.no_grad():
            latents, log_prob = proposals.given(improvement, n).sample_with_log_prob()
        assert latents.shape == (batch, n, dim) and log_prob.shape == (batch, n)
        assert latents.isfinite().all() and log_prob.isfinite().all()
