"""One sample of each state with the trace integral, batch last, against the general integration."""

import pytest
import torch

from sb3_flowsac.flow import SOLVERS, integrate, make_flow
from sb3_flowsac.flow.singles import push_singles

DIM = 3


def new_flow(perturb, base="gaussian", **kwargs):
    torch.manual_seed(0)
    return perturb(make_flow(4, DIM, base=base, field_kwargs={"units": 8}, ode_steps=3, **kwargs).double(), 0.3)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("base", ["gaussian", "standard"])
@pytest.mark.parametrize("batch", [1, 5])
@torch.no_grad()
def test_singles_go_where_all_go(perturb, solver, base, batch):
    flow = new_flow(perturb, base, ode_solver=solver, ode_grid_power=1.5)
    features, points = torch.randn(batch, 4, dtype=torch.float64), torch.randn(batch, DIM, dtype=torch.float64)
    expected = integrate(flow(features).velocity, points.unsqueeze(1), flow.grid, flow.solver, "trace")
    x, log_volume = push_singles(flow.field, features, points, flow.grid, flow.solver)
    torch.testing.assert_close(x, expected.x.squeeze(1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_volume, expected.log_volume.squeeze(1), rtol=1e-12, atol=1e-12)
    assert (x - points).abs().max() > 0.05 and log_volume.abs().max() > 0.05, "the field does something"


@pytest.mark.parametrize("base", ["gaussian", "standard"])
@pytest.mark.parametrize("field", ["structured", "mlp"])
def test_a_sample_of_each_state_is_that_of_the_distribution(perturb, base, field):
    flow = new_flow(perturb, base)
    if field == "mlp":
        flow = perturb(make_flow(4, DIM, base=base, field="mlp", field_kwargs={"hidden": (8,)}).double(), 0.3)
    features = torch.randn(6, 4, dtype=torch.float64)
    torch.manual_seed(1)
    latents, log_prob = flow.sample_singles(features)
    torch.manual_seed(1)
    expected, expected_log_prob = flow(features).sample_with_log_prob(1, density="trace")
    assert latents.shape == (6, 1, DIM) and log_prob.shape == (6, 1) and not latents.requires_grad
    torch.testing.assert_close(latents, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_prob, expected_log_prob.detach(), rtol=1e-12, atol=1e-12)
