"""Mixtures: weights by the density of the shares that are drawn, bounded by those of the best component."""

import math

import numpy as np
import pytest
import torch
from improvements import F64, TRANSFORMS, defensive, everywhere, flow_policy, step_of

from sb3_flowsac.flow import Identity, Tanh
from sb3_flowsac.isfm import (
    CurrentPolicy,
    Mixture,
    NewtonGaussian,
    Proposal,
    SamplingDistribution,
    UniformBox,
    self_normalize,
)


@TRANSFORMS
@pytest.mark.parametrize("n", [2, 10, 16, 33])
def test_weights_of_a_mixture_are_unbiased_for_every_number_of_proposals(perturb, transform, n):
    """The mean of target / density is 1 within 4.5 standard errors, also where n times the share is no whole number."""
    policy = flow_policy(perturb, batch=8000 // n, n_steps=8)
    with torch.no_grad():
        latents, log_density = defensive(CurrentPolicy()).given(step_of(policy, transform), n).sample_with_log_prob()
        # The target: actions with density 3/4 (1 - a^2) on [-1, 1], as a density of latents
        actions = transform(latents)[..., 0]
        target = 0.75 * (1 - actions**2).clamp(min=0.0) * transform.log_det(latents).exp()
        mean = (target / log_density.exp()).mean(-1)
    assert abs(mean.mean() - 1.0) < 4.5 * mean.std() / len(mean) ** 0.5


@pytest.mark.parametrize("share", [0.125, 0.5])
@TRANSFORMS
def test_the_defensive_share_bounds_the_weights(perturb, transform, share):
    """target / h <= 2^d max pi / share wherever the target has mass, however far its tails reach beyond the
    policy's."""
    grid, _ = everywhere(1)
    with torch.no_grad():
        log_h = defensive(CurrentPolicy(), share).given(step_of(flow_policy(perturb), transform), 16).log_prob(grid)
    actions = transform(grid)[..., 0]
    density = 4.0 * torch.exp(4.0 * (actions - 1.0)) / (1.0 - np.exp(-8.0))  # of actions on the box, largest at a = 1
    weights = (density.log() + transform.log_det(grid) + transform.log_indicator(grid) - log_h).exp()
    bound = 2.0 * density[transform.log_indicator(grid) == 0].max() / share
    assert weights.max() <= bound * (1 + 1e-9)
    assert weights.max() > 0.25 * bound


@pytest.mark.parametrize("n", [16, 8, 9, 40])
def test_the_uniform_share_of_a_mixture_is_drawn(perturb, n):
    """A policy far outside the box: what lies inside was drawn uniformly."""
    policy = flow_policy(perturb, batch=3)
    policy.base.loc.add_(50.0)
    improvement = step_of(policy, Identity(), lambda actions: torch.zeros_like(actions[..., 0]))
    latents, log_density = defensive(CurrentPolicy()).given(improvement, n).sample_with_log_prob()
    assert ((latents[..., 0].abs() <= 1).sum(-1) == max(1, round(n / 8))).all()
    inside = self_normalize(Identity().log_indicator(latents) - log_density)
    torch.testing.assert_close(inside.sum(-1), torch.ones(3, **F64))
    torch.testing.assert_close(self_normalize(improvement.log_target(latents) - log_density), inside)


@TRANSFORMS
def test_log_prob_is_the_log_of_the_weighted_sum_of_the_components(perturb, transform):
    """Newton's Gaussian and the policy draw as they do alone; n = 7 of shares 0.5, 0.3, 0.2 are 4, 2 and 1."""
    components = [CurrentPolicy(), NewtonGaussian(), UniformBox()]
    improvement = step_of(flow_policy(perturb, dim=2, batch=3), transform)
    latents = torch.randn(3, 5, 2, **F64)
    with torch.no_grad():
        torch.manual_seed(1)
        actual = Mixture(components, [0.5, 0.3, 0.2]).given(improvement, 7).log_prob(latents)
        torch.manual_seed(1)
        parts = [c.given(improvement, n).log_prob(latents) for c, n in zip(components, (4, 2, 1), strict=True)]
    expected = sum(n / 7 * part.exp() for part, n in zip(parts, (4, 2, 1), strict=True)).log()
    torch.testing.assert_close(actual, expected)


def test_a_component_asks_for_the_draws_that_it_gets(perturb):
    """Also in a mixture within a mixture, which counts as its components."""
    asked = []

    class Counting(UniformBox):
        def given(self, improvement, n):
            asked.append(n)
            return super().given(improvement, n)

    mixture = Mixture([Counting(), Mixture([Counting(), Counting()], [0.75, 0.25])], [0.5, 0.5])
    mixture.check(16)
    latents, _ = mixture.given(step_of(flow_policy(perturb), Tanh()), 16).sample_with_log_prob()
    assert asked == [8, 6, 2] and latents.shape == (1, 16, 1)


@pytest.mark.parametrize(
    "shares", [[0.5], [0.5, 0.4], [1.0, 0.0], [1.5, -0.5], [0.5, 0.5, 0.0], [], [float("nan"), 0.5], [float("nan")] * 2]
)
def test_shares_that_are_none_are_named(shares):
    with pytest.raises(ValueError, match="shares"):
        Mixture([CurrentPolicy(), UniformBox()], shares)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_defensive_share_out_of_range_is_named(share):
    with pytest.raises(ValueError, match="share"):
        defensive(CurrentPolicy(), share)


def test_a_mixture_needs_a_component():
    with pytest.raises(ValueError, match="components"):
        Mixture([], [])


def test_a_mixture_of_mixtures_is_the_mixture_of_all_components(perturb):
    """Also where the shares that are drawn are not the nominal ones: n = 9 of shares 0.5, 0.35 and 0.15."""
    improvement = step_of(flow_policy(perturb, batch=3), Tanh())
    flat = Mixture([UniformBox(), CurrentPolicy(), UniformBox()], [0.5, 0.35, 0.15])
    nested = Mixture([UniformBox(), Mixture([CurrentPolicy(), UniformBox()], [0.7, 0.3])], [0.5, 0.5])
    results = []
    for mixture in (flat, nested):
        torch.manual_seed(0)
        results.append(mixture.given(improvement, 9).sample_with_log_prob())
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected)


def test_too_few_proposals_for_a_mixture_are_named(perturb):
    mixture = defensive(CurrentPolicy())
    for ask in (lambda n: mixture.check(n), lambda n: mixture.given(step_of(flow_policy(perturb), Identity()), n)):
        with pytest.raises(ValueError, match="n_proposals=1"):
            ask(1)
    mixture.check(2)


def test_too_few_proposals_for_a_component_are_named():
    class InThrees(UniformBox):
        def check(self, n):
            if n < 3:
                raise ValueError(f"n_proposals={n} must be at least 3")

    mixture = Mixture([UniformBox(), InThrees()], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"n_proposals=2 .*3"):
        mixture.check(4)
    mixture.check(6)


@pytest.mark.parametrize("component", ["uniform", UniformBox])
def test_a_component_that_is_no_instance_is_named(component):
    with pytest.raises(TypeError, match=r"components\[1\] must be an instance of SamplingDistribution"):
        Mixture([CurrentPolicy(), component], [0.5, 0.5])


@pytest.mark.parametrize("wrong", [lambda p: p.mean(), lambda p: p[:, :1], lambda p: p[0]])
@pytest.mark.parametrize("alone", [True, False])
def test_densities_of_another_shape_are_refused(perturb, wrong, alone):
    """Most would broadcast."""

    class Wrong(Proposal):
        def __init__(self, uniform):
            self.uniform = uniform

        def sample_with_log_prob(self):
            latents, log_prob = self.uniform.sample_with_log_prob()
            return latents, wrong(log_prob)

        def log_prob(self, latents):
            return self.uniform.log_prob(latents)

    class Own(SamplingDistribution):
        def given(self, improvement, n):
            return Wrong(UniformBox().given(improvement, n))

    improvement = step_of(flow_policy(perturb, batch=3), Tanh())
    distribution = Own() if alone else Mixture([CurrentPolicy(), Own()], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"Wrong\.sample_with_log_prob must give .*batch=3"):
        distribution.given(improvement, 8).draw(improvement.policy)
