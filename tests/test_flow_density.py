"""Densities of the conditional flow: against torchdiffeq, autograd, closed forms and quadrature."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev as numpy_chebyshev
from scipy.stats import multivariate_normal
from torch.distributions import MultivariateNormal
from torchdiffeq import odeint

from sb3_flowsac.flow import FlowDistribution, NormalizedPath, StructuredField, make_flow

F64 = {"dtype": torch.float64}
BASES = ["standard", "gaussian"]


class AffineField(StructuredField):
    """The structured field with its affine term on any base."""

    def __init__(self, features_dim, dim, *, affine, **kwargs):
        super().__init__(features_dim, dim, affine=True, **kwargs)


FIELDS = {
    "structured": {"field_kwargs": {"units": 8}},
    "affine": {"field": AffineField, "field_kwargs": {"units": 8}},
    "mlp": {"field": "mlp", "field_kwargs": {"hidden": (8, 8)}},
}


@pytest.fixture
def new_flow(perturb):
    """A conditional flow with a non-trivial field in float64."""

    def make(base="gaussian", field="structured", dim=2, **kwargs):
        torch.manual_seed(0)  # the same field whenever the rest is the same
        flow = make_flow(3, dim, base=base, log_std_init=-0.5, **FIELDS[field], **kwargs)
        return perturb(flow.double(), 0.1 if field != "mlp" else 0.3)

    return make


def features(batch=2):
    return 0.5 * torch.randn(batch, 3, **F64)


def base_log_prob(distribution, u):
    """log N(u; loc, L L') by torch.distributions."""
    base = distribution.base
    return MultivariateNormal(base.loc.unsqueeze(1), scale_tril=base.scale_tril.unsqueeze(1)).log_prob(u)


def dopri5_log_prob(distribution, u):
    """Equation 6 by an adaptive solver at tight tolerance, backwards, with autograd's divergence."""
    base, velocity = distribution.base, distribution.velocity
    y = torch.linalg.solve(base.scale_tril.unsqueeze(1), (u - base.loc.unsqueeze(1)).unsqueeze(-1)).squeeze(-1).detach()
    dim = y.shape[-1]

    def rate(t, state):
        with torch.enable_grad():
            x = state[..., :dim].requires_grad_()
            v = velocity(x, t.item())
            rows = [torch.autograd.grad(v[..., i].sum(), x, retain_graph=True)[0][..., i] for i in range(dim)]
        return torch.cat([v, sum(rows).unsqueeze(-1)], dim=-1).detach()

    state = torch.cat([y, torch.zeros_like(y[..., :1])], dim=-1)
    end = odeint(rate, state, torch.tensor([1.0, 0.0], **F64), method="dopri5", rtol=1e-9, atol=1e-10)[-1]
    centre = base.loc.unsqueeze(1) + end[..., :dim] @ base.scale_tril.transpose(
        1, 2
    )  # the density of y_0 through that of u_0
    return base_log_prob(distribution, centre) + end[..., dim]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("base", BASES)
def test_log_prob_is_that_of_torchdiffeq(new_flow, base, field):
    flow = new_flow(base, field, ode_steps=64, ode_solver="rk4")
    distribution = flow(features())
    u = distribution.base.unwhiten(torch.randn(2, 10, 2, **F64)).detach()
    expected = dopri5_log_prob(distribution, u)
    assert (expected - base_log_prob(distribution, u)).abs().max() > 0.1
    for density in ("trace", "exact"):
        torch.testing.assert_close(distribution.log_prob(u, density), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("density", ["trace", "exact"])
@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun"])
def test_log_prob_of_every_solver_approaches_torchdiffeqs(new_flow, solver, density):
    """At order p with n and 2n steps, (2^p a_2n - a_n) / (2^p - 1) has lost the leading error term."""
    order, u, state = 1 if solver == "euler" else 2, torch.randn(2, 5, 2, **F64), features()
    coarse, fine = (
        new_flow("standard", "affine", ode_steps=n_steps, ode_solver=solver, density=density)(state)
        for n_steps in (64, 128)
    )
    expected = dopri5_log_prob(fine, u)
    errors = [coarse.log_prob(u) - expected, fine.log_prob(u) - expected]
    extrapolated = (2**order * errors[1] - errors[0]) / (2**order - 1)
    assert errors[1].abs().max() > 1e-6
    assert extrapolated.abs().max() < 0.1 * errors[1].abs().max()


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("base", BASES)
def test_exact_density_is_that_of_the_samples_by_autograds_jacobian(new_flow, base, field):
    """The change of variables of the few discrete steps that make a sample, with the Jacobian of the whole sampler."""
    distribution = new_flow(base, field, ode_steps=2, density="exact")(features())
    noise = torch.randn(2, 6, 2, **F64)
    u = distribution.push(noise)
    jacobian = torch.func.jacrev(distribution.push)(noise)
    log_det = torch.stack([torch.stack([jacobian[b, i, :, b, i].slogdet()[1] for i in range(6)]) for b in range(2)])
    normal = MultivariateNormal(torch.zeros(2, **F64), torch.eye(2, **F64))
    torch.testing.assert_close(distribution.log_prob(u), normal.log_prob(noise) - log_det, rtol=0, atol=1e-10)


@pytest.mark.parametrize("density", ["exact", "trace"])
@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.parametrize("base", BASES)
def test_sample_to_log_prob_round_trip(new_flow, base, dim, density):
    """The exact density to rounding in any number of steps; the trace integral as the steps get small."""
    flow = new_flow(base, "structured", dim, ode_steps=4 if density == "exact" else 64, density=density)
    distribution = flow(features())
    u, log_prob = distribution.sample_with_log_prob(200)
    assert u.shape == (2, 200, dim) and log_prob.shape == (2, 200)
    torch.testing.assert_close(distribution.log_prob(u), log_prob, rtol=0, atol=1e-10 if density == "exact" else 1e-4)


def test_the_density_argument_overrides_the_flows_own(new_flow):
    exact, trace = (new_flow(ode_steps=2, density=density)(features(1)) for density in ("exact", "trace"))
    trace = FlowDistribution(trace.flow, exact.base, exact.velocity)
    u = torch.randn(1, 10, 2, **F64)
    assert torch.equal(exact.log_prob(u, "trace"), trace.log_prob(u))
    assert torch.equal(trace.log_prob(u, "exact"), exact.log_prob(u))
    assert (trace.log_prob(u) - exact.log_prob(u)).abs().max() > 1e-3
    for name in ("exact", "trace"):
        generators = [torch.Generator().manual_seed(3) for _ in range(2)]
        by_argument = trace.sample_with_log_prob(10, generators[0], name)
        own = {"exact": exact, "trace": trace}[name].sample_with_log_prob(10, generators[1])
        assert torch.equal(by_argument[0], own[0]) and torch.equal(by_argument[1], own[1])


def test_a_zero_field_is_the_base_distribution():
    flow = make_flow(3, 2, log_std_init=-1.0, ode_steps=1).double()
    with torch.no_grad():
        flow.base.head.bias.add_(torch.tensor([0.3, -0.2, 0.1, 0.4, 0.7], **F64))
    distribution = flow(features(1))
    covariance = (distribution.base.scale_tril @ distribution.base.scale_tril.mT)[0].numpy(force=True)
    reference = multivariate_normal(distribution.base.loc[0].numpy(force=True), covariance)
    u = torch.randn(1, 50, 2, **F64)
    np.testing.assert_allclose(
        distribution.log_prob(u)[0].numpy(force=True), reference.logpdf(u[0].numpy()), rtol=1e-12
    )
    assert abs(covariance[0, 1]) > 0.01


def gaussian_flow(mean, covariance, n_basis=28):
    """
    The marginal flow of the straight path from N(0, I) to N(mean, covariance), as coefficients of the structured field.

    In the eigenvectors of the covariance, with variance s^2: v = c(t) (x - t mean) + mean,
    c(t) = (t s^2 - (1-t)) / (t^2 s^2 + (1-t)^2); c as a Chebyshev series.
    """
    variances, vectors = np.linalg.eigh(covariance)

    def matrix(s):
        t = (s + 1.0) / 2.0
        c = (t * variances[:, None] - (1 - t)) / (t**2 * variances[:, None] + (1 - t) ** 2)
        return np.einsum("ik,ks,jk->sij", vectors, c, vectors).reshape(len(t), -1)

    def drift(s):
        t = (s + 1.0) / 2.0
        return mean - t[:, None] * (matrix(s).reshape(len(t), len(mean), -1) @ mean)

    nodes = numpy_chebyshev.chebpts1(n_basis)
    series = [numpy_chebyshev.chebfit(nodes, f(nodes), n_basis - 1) for f in (drift, matrix)]
    coefficients = np.concatenate([np.zeros((n_basis, 3)), *series], axis=1)  # one hidden unit, switched off
    field = StructuredField(1, len(mean), affine=True, units=1, n_basis=n_basis).double()
    field.head.bias.data = torch.tensor(np.concatenate([np.ones(2 * len(mean)), coefficients.ravel()]))
    with torch.no_grad():
        return field(torch.zeros(1, 1, **F64))


@pytest.mark.parametrize("density", ["trace", "exact"])
@pytest.mark.parametrize(
    ("mean", "covariance"),
    [([0.4], [[0.09]]), ([0.5, -0.3], [[0.3, 0.18], [0.18, 0.2]]), ([0.0, 1.0, -1.0], np.diag([1.0, 2.0, 0.5]))],
)
def test_the_affine_flow_of_a_gaussian_has_its_density_and_its_samples(mean, covariance, density):
    mean, covariance = np.array(mean), np.array(covariance)
    dim = len(mean)
    flow = make_flow(1, dim, base="standard", ode_steps=100, ode_solver="rk4", density=density)
    base = flow.base(torch.zeros(1, 1, **F64))
    distribution = FlowDistribution(flow, base, gaussian_flow(mean, covariance))
    noise = torch.randn(1, 50, dim, **F64)
    variances, vectors = np.linalg.eigh(covariance)
    root = vectors @ np.diag(np.sqrt(variances)) @ vectors.T
    u = mean + noise[0].numpy() @ root
    np.testing.assert_allclose(distribution.push(noise)[0], u, atol=1e-6)
    np.testing.assert_allclose(
        distribution.log_prob(torch.tensor(u)[None])[0], multivariate_normal(mean, covariance).logpdf(u), atol=1e-5
    )


@pytest.mark.parametrize(("n_steps", "n_points"), [(1, 2), (4, 9)])
def test_few_midpoint_steps_of_the_papers_flow_are_too_narrow(n_steps, n_points):
    """The exact density tells: the standard deviation of the samples of N(0, 0.1^2) is the product of the steps'
    factors."""
    flow = make_flow(1, 1, base="standard", ode_steps=n_steps)
    distribution = FlowDistribution(
        flow, flow.base(torch.zeros(1, 1, **F64)), gaussian_flow(np.zeros(1), np.array([[0.01]]), 120)
    )

    def c(t):
        return (0.01 * t - (1 - t)) / (0.01 * t**2 + (1 - t) ** 2)

    times, h = np.linspace(0, 1, 2 * n_steps + 1), 1 / n_steps
    spread = abs(np.prod([1 + h * c(times[2 * k + 1]) * (1 + h / 2 * c(times[2 * k])) for k in range(n_steps)]))
    u = torch.linspace(-2 * spread, 2 * spread, n_points, **F64).view(1, -1, 1)
    expected = -0.5 * (u[0, :, 0] / spread) ** 2 - math.log(spread * math.sqrt(2 * math.pi))
    torch.testing.assert_close(distribution.log_prob(u)[0], expected, rtol=1e-6, atol=1e-6)
    assert abs(spread / 0.1 - 1) > 0.1


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("base", BASES)
def test_exact_density_integrates_to_one(new_flow, base, field):
    """In any number of steps, while the trace integral of so few steps is no density."""
    distribution = new_flow(base, field, ode_steps=2)(features(1))
    axis = torch.linspace(-9.0, 9.0, 241, **F64)
    u = distribution.base.unwhiten(torch.cartesian_prod(axis, axis).unsqueeze(0))
    cell = (axis[1] - axis[0]) ** 2 * distribution.base.log_scale.exp()
    with torch.no_grad():
        mass = {
            density: (distribution.log_prob(u, density).exp().sum() * cell).item() for density in ("exact", "trace")
        }
    assert mass["exact"] == pytest.approx(1.0, abs=1e-6)
    assert abs(mass["trace"] - 1.0) > 5e-5


def test_samples_have_the_moments_of_the_exact_density(new_flow):
    """Within 4.5 standard errors, for a field that makes the distribution plainly non-Gaussian."""
    distribution = new_flow("gaussian", "structured", 1, ode_steps=2)(features(1))
    with torch.no_grad():
        u = distribution.sample(100_000)[0, :, 0]
        grid = torch.linspace(-8.0, 8.0, 4001, **F64)
        density = distribution.log_prob(grid.view(1, -1, 1)).exp()[0] * (grid[1] - grid[0])
    for function in (lambda x: x, torch.square, torch.cos, lambda x: (x > 0.2).double()):
        error = function(u).mean() - (density * function(grid)).sum()
        # The step function on the grid is off by at most one cell's mass
        assert error.abs() < 4.5 * function(u).std() / len(u) ** 0.5 + density.max()
    assert (
        base_log_prob(distribution, grid.view(1, -1, 1))[0].exp() * (grid[1] - grid[0]) - density
    ).abs().sum() > 0.05


@pytest.mark.parametrize("base", BASES)
def test_sampling_is_differentiable_and_its_generator_its_own(new_flow, base):
    flow = new_flow(base, "affine")
    distribution, before = flow(features()), torch.get_rng_state()
    u, log_prob = distribution.sample_with_log_prob(5, torch.Generator().manual_seed(1))
    again = distribution.sample(5, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(again, u, rtol=1e-12, atol=1e-12)
    (u.sum() + log_prob.sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in flow.parameters())


def test_the_path_follows_the_base():
    assert isinstance(make_flow(1, 1).path, NormalizedPath)
    assert not isinstance(make_flow(1, 1, base="standard").path, NormalizedPath)
