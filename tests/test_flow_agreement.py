"""All ways to compute a flow agree: points one by one, together, alone in their state, and few of them."""

import numpy as np
import pytest
import torch

from sb3_flowsac.flow import FIELDS, SOLVERS, StructuredField, make_flow

F64 = {"dtype": torch.float64}
DIM = 3


@pytest.fixture
def new_flow(perturb):
    """A flow with a non-trivial field in float64, for each field, base and solver that there is."""

    def make(base="gaussian", field="structured", ode_steps=3, **kwargs):
        torch.manual_seed(0)
        flow = make_flow(4, DIM, base=base, field=field, ode_steps=ode_steps, ode_grid_power=1.5, **kwargs)
        return perturb(flow.double(), 0.1)

    return make


def one_by_one(flow, features, noise, density):
    """Each state by itself with a second, unrelated point: what does not depend on either."""
    others = torch.randn_like(noise[:, :1])
    parts = [
        flow(features[b : b + 1]).push_with_log_prob(
            torch.cat([noise[b : b + 1, i : i + 1], others[b : b + 1]], 1), density
        )
        for b in range(noise.shape[0])
        for i in range(noise.shape[1])
    ]
    shape = noise.shape[:2]
    return torch.cat([u[:, 0] for u, _ in parts]).view(*shape, DIM), torch.cat([p[:, 0] for _, p in parts]).view(shape)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(("batch", "n"), [(1, 1), (1, 5), (4, 1), (3, 4)])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("base", ["gaussian", "standard"])
def test_all_ways_agree(new_flow, base, field, solver, batch, n, gradients):
    flow = new_flow(base, field, ode_solver=solver)
    features, noise = torch.randn(batch, 4, **F64), torch.randn(batch, n, DIM, **F64)
    with torch.set_grad_enabled(gradients):
        distribution = flow(features)
        pushed = distribution.push(noise)
        assert (pushed - distribution.base.unwhiten(noise)).abs().max() > 0.02, "the field does something"
        torch.testing.assert_close(flow.push(features, noise), pushed, rtol=1e-12, atol=1e-12)
        for density in ("exact", "trace"):
            expected, expected_log_prob = one_by_one(flow, features, noise, density)
            latents, log_prob = distribution.push_with_log_prob(noise, density)
            torch.testing.assert_close(latents, pushed, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(latents, expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(log_prob, expected_log_prob, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("field", FIELDS)
def test_gradients_of_single_points_are_those_among_others(new_flow, field):
    flow = new_flow("standard", field)
    features, noise = torch.randn(3, 4, **F64), torch.randn(3, 1, DIM, **F64)

    def gradients(points):
        u, log_prob = flow(features).push_with_log_prob(points)
        return torch.autograd.grad(u[:, 0].square().sum() + log_prob[:, 0].sum(), flow.parameters())

    for single, among_others in zip(gradients(noise), gradients(noise.repeat(1, 2, 1)), strict=True):
        torch.testing.assert_close(single, among_others, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_expanded_noise_is_taken_and_left_as_it_is(new_flow):
    flow, noise = new_flow(), torch.randn(1, 2, DIM, **F64)
    before, features = noise.clone(), torch.randn(3, 4, **F64)
    latents = flow.push(features, noise.expand(3, -1, -1))
    torch.testing.assert_close(latents, flow(features).push(noise.expand(3, -1, -1)), rtol=1e-12, atol=1e-12)
    assert torch.equal(noise, before)


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3])
def test_a_field_that_changes_its_features_does_so_for_few_points(new_flow, batch):
    class Doubling(StructuredField):
        def forward(self, features):
            return super().forward(2.0 * features)

    flow, plain = new_flow(field=Doubling), new_flow()
    plain.load_state_dict(flow.state_dict())
    features, noise = torch.randn(batch, 4, **F64), torch.randn(batch, 1, DIM, **F64)
    pushed = flow.push(features, noise)
    torch.testing.assert_close(pushed, flow(features).push(noise), rtol=1e-12, atol=1e-12)
    assert (pushed - plain.push(features, noise)).abs().max() > 1e-3


def test_push_has_gradients_where_they_are_asked_for(new_flow):
    assert new_flow().push(torch.randn(2, 4, **F64), torch.randn(2, 1, DIM, **F64)).requires_grad


@torch.no_grad()
@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("kwargs", [{}, {"squash_output": False}, {"n_action_candidates": 4, "n_acting_candidates": 3}])
def test_predict_is_forward(make_policy, kwargs, deterministic):
    """What ``predict`` computes is what a traceable call of the policy computes."""
    policy = make_policy((-0.5, 1.0), (3.0, 1.4), **kwargs)
    observations = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    torch.manual_seed(1)
    actions = policy.predict(observations, deterministic=deterministic)[0]
    torch.manual_seed(1)
    with torch.no_grad():
        expected = policy(torch.as_tensor(observations), deterministic=deterministic).numpy()
    expected = policy.unscale_action(expected) if policy.squash_output else np.clip(expected, (-0.5, 1.0), (3.0, 1.4))
    np.testing.assert_allclose(actions, expected, rtol=1e-6, atol=1e-6)
