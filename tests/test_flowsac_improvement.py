"""The pathwise loss and the bounded step: what they estimate, and what their gradients reach."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal

from sb3_flowsac.flow import Tanh, make_flow
from sb3_flowsac.isfm import (
    Improvement,
    effective_sample_size,
    get_sampling_distribution,
    scale_of_base,
    self_normalize,
    tempered_weights,
)

F64 = {"dtype": torch.float64}


@pytest.mark.parametrize("squashed", [True, False])
def test_the_reparameterised_action_has_the_policys_density(make_policy, squashed):
    """By the trace integral, backwards from the action; its own is the forward one, apart by the solver's error."""
    policy = make_policy((-1.0, -1.0), (1.0, 1.0), squash_output=squashed, ode_steps=64)
    actor = policy.actor
    features = actor.features(torch.randn(50, 3, **F64)).detach()
    action, log_prob, y1 = actor.reparameterised(features)
    u = actor.transform.inverse(action)
    expected = actor.flow(features).log_prob(u, density="trace") - actor.transform.log_det(u)
    torch.testing.assert_close(log_prob, expected, rtol=0.0, atol=1e-3)
    torch.testing.assert_close(actor.flow.base(features).unwhiten(y1), u)


def test_its_gradient_reaches_the_base_alone_and_is_that_of_the_closed_form(make_policy):
    """The field at zero: the entropy of a Gaussian is log det L and a constant, and its mean moves every action."""
    actor = make_policy((-1.0, -1.0), (1.0, 1.0), scale=0.0, squash_output=False).actor
    features = torch.randn(40, 16, **F64)
    action, log_prob, y1 = actor.reparameterised(features)
    weight = torch.randn(2, **F64)
    (log_prob - action @ weight).sum().backward()
    base = actor.flow.base(features)
    expected = -base.log_scale.sum() - (base.unwhiten(y1) @ weight).sum()
    (gradient,) = torch.autograd.grad(expected, actor.flow.base.head.weight)
    torch.testing.assert_close(actor.flow.base.head.weight.grad, gradient)
    assert all(parameter.grad is None for parameter in actor.flow.field.parameters())
    gaussian = MultivariateNormal(base.loc, scale_tril=base.scale_tril)
    torch.testing.assert_close(log_prob.squeeze(1), gaussian.log_prob(action.squeeze(1)))


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100.0), st.floats(1.0, 16.0))
def test_the_largest_step_with_enough_effective_proposals(seed, sharpness, least):
    generator = torch.Generator().manual_seed(seed)
    gain = sharpness * torch.randn(8, 16, generator=generator, **F64)
    ratio = 0.1 * torch.randn(8, 16, generator=generator, **F64)
    weights, tau = tempered_weights(gain, ratio, least)
    torch.testing.assert_close(weights, self_normalize(tau.unsqueeze(1) * gain + ratio))
    enough = effective_sample_size(weights) >= least
    assert (enough | (tau <= 2.0**-10)).all()
    larger = effective_sample_size(self_normalize(2.0**0.5 * tau.unsqueeze(1) * gain + ratio))
    assert ((larger < least) | (tau == 1.0)).all()
    assert least > 1.0 or (tau == 1.0).all()


def test_outside_the_support_no_proposal_weighs():
    gain = torch.tensor([[-torch.inf, 0.0, 1.0, -torch.inf], [-torch.inf] * 4], **F64)
    weights, _ = tempered_weights(gain, torch.zeros(2, 4, **F64), 2.0)
    assert weights[0, [0, 3]].tolist() == [0.0, 0.0] and not weights[1].any()
    torch.testing.assert_close(weights[0].sum(), torch.ones((), **F64))


@pytest.mark.parametrize("name", ["newton", "policy", "defensive", "uniform"])
def test_every_distribution_knows_the_policys_density_of_its_draws(perturb, name):
    flow = perturb(make_flow(3, 2, ode_steps=16), 0.05).double()
    with torch.no_grad():
        policy = flow(torch.randn(6, 3, **F64))
        improvement = Improvement(policy, Tanh(), lambda actions: -actions.square().sum(-1))
        draws = get_sampling_distribution(name).given(improvement, 16).draw(policy)
        expected = policy.log_prob(draws.latents)
        plain = self_normalize(improvement.log_target(draws.latents) - draws.log_prob)
        weights, tau = improvement.tempered_weights(draws, 1.0)
    inside = draws.latents.abs().amax(-1) < 3.0  # where the trace integral is near the exact density
    torch.testing.assert_close(draws.log_policy[inside], expected[inside], rtol=0.0, atol=0.05)
    torch.testing.assert_close(weights, plain)
    assert (tau == 1.0).all()


def test_the_base_owns_the_scale():
    y1 = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0), **F64) * torch.tensor([0.5, 2.5], **F64)
    torch.testing.assert_close(scale_of_base(y1), torch.tensor([1.0, 0.5], **F64), rtol=0.05, atol=0.0)


@pytest.mark.parametrize("loss", ["both", "pathwise"])
def test_a_frozen_base_is_left_alone(make_model, loss):
    model = make_model("Pendulum-v1", actor_loss=loss, policy_delay=1)
    for module in (model.actor.trunk, model.actor.flow.base):
        module.requires_grad_(False)
    base, field = (m.head.weight.detach().clone() for m in (model.actor.flow.base, model.actor.flow.field))
    model.learn(40)
    assert torch.equal(model.actor.flow.base.head.weight, base)
    assert torch.equal(model.actor.flow.field.head.weight, field) == (loss == "pathwise")
