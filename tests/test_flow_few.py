"""The flow of a few points in numpy against torch's, and who takes which."""

import numpy as np
import pytest
import torch

from sb3_flowsac.flow import SOLVERS, make_flow
from sb3_flowsac.flow import flow as flow_module
from sb3_flowsac.flow.few import MOST_POINTS, are_few

DIM = 3


def new_flow(perturb, base="gaussian", n_steps=3, **kwargs):
    torch.manual_seed(0)
    return perturb(make_flow(4, DIM, base=base, field_kwargs={"units": 8}, ode_steps=n_steps, **kwargs).double(), 0.3)


@pytest.fixture
def taken(monkeypatch):
    """The numbers of points that numpy is given."""
    sizes, push_few = [], flow_module.push_few

    def spy(base, field, features, noise, *args):
        sizes.append(noise.shape[:2].numel())
        return push_few(base, field, features, noise, *args)

    monkeypatch.setattr(flow_module, "push_few", spy)
    return sizes


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("base", ["gaussian", "standard"])
@pytest.mark.parametrize(("batch", "n"), [(1, 1), (1, 5), (4, 1), (3, 4)])
@torch.no_grad()
def test_numpy_goes_where_torch_goes(perturb, taken, solver, base, batch, n):
    flow = new_flow(perturb, base, ode_solver=solver, ode_grid_power=1.5)
    features, noise = torch.randn(batch, 4, dtype=torch.float64), torch.randn(batch, n, DIM, dtype=torch.float64)
    latents = flow(features).push(noise)
    torch.testing.assert_close(flow.push_few(features, noise), latents, rtol=1e-12, atol=1e-12)
    assert taken == [batch * n]
    moved = latents - flow(features).base.unwhiten(noise)
    assert moved.abs().max() > 0.05, "the field does something"


@torch.no_grad()
def test_expanded_noise_is_taken_and_left_as_it_is(perturb, taken):
    flow = new_flow(perturb)
    noise = torch.randn(1, 2, DIM, dtype=torch.float64)
    before, features = noise.clone(), torch.randn(3, 4, dtype=torch.float64)
    latents = flow.push_few(features, noise.expand(3, -1, -1))
    torch.testing.assert_close(latents, flow(features).push(noise.expand(3, -1, -1)), rtol=1e-12, atol=1e-12)
    assert taken == [6] and torch.equal(noise, before)


def test_gradients_many_points_and_other_precisions_are_torchs(perturb, taken):
    flow = new_flow(perturb)
    features, noise = torch.randn(2, 4, dtype=torch.float64), torch.randn(2, 1, DIM, dtype=torch.float64)
    assert flow.push_few(features, noise).requires_grad
    with torch.no_grad():
        flow.push_few(features, noise.expand(-1, MOST_POINTS // 2 + 1, -1))
        assert are_few(noise) and not are_few(noise.to(torch.bfloat16)) and not are_few(noise.to("meta"))
        mlp = perturb(make_flow(4, DIM, base="standard", field="mlp", field_kwargs={"hidden": (8,)}).double(), 0.3)
        assert torch.equal(mlp.push_few(features, noise), mlp(features).push(noise))
    assert taken == []


@torch.no_grad()
def test_scales_at_their_limits_are_clamped(perturb):
    flow = new_flow(perturb)
    flow.base.head.bias[DIM : 2 * DIM] = torch.tensor([-9.0, 0.0, 9.0], dtype=torch.float64)
    features, noise = torch.zeros(2, 4, dtype=torch.float64), torch.randn(2, 1, DIM, dtype=torch.float64)
    torch.testing.assert_close(flow.push_few(features, noise), flow(features).push(noise), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("kwargs", [{}, {"squash_output": False}, {"n_action_candidates": 4, "n_acting_candidates": 3}])
def test_predict_is_forward(make_policy, taken, deterministic, kwargs):
    """What ``predict`` computes in numpy is what a traceable call of the policy computes in torch."""
    policy = make_policy((-0.5, 1.0), (3.0, 1.4), **kwargs)
    observations = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    torch.manual_seed(1)
    actions = policy.predict(observations, deterministic=deterministic)[0]
    torch.manual_seed(1)
    with torch.no_grad():
        expected = policy(torch.as_tensor(observations), deterministic=deterministic).numpy()
    expected = policy.unscale_action(expected) if policy.squash_output else np.clip(expected, (-0.5, 1.0), (3.0, 1.4))
    np.testing.assert_allclose(actions, expected, rtol=1e-6, atol=1e-6)
    assert len(taken) == 1
