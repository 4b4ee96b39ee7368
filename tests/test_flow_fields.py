"""Velocity fields: their formula, and their divergence and Jacobian against autograd."""

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev as numpy_chebyshev

from sb3_flowsac.flow import AutogradVelocity, MLPField, StructuredField, VelocityField, make_flow
from sb3_flowsac.flow.structured import chebyshev

F64 = {"dtype": torch.float64}
KINDS = {
    "structured": lambda dim: StructuredField(3, dim, units=8),
    "affine": lambda dim: StructuredField(3, dim, units=8, affine=True),
    "mlp": lambda dim: MLPField(3, dim, hidden=(8, 8)),
}


@pytest.fixture(params=KINDS)
def field(request, perturb):
    """A non-trivial field of each kind in three dimensions, float64."""
    return perturb(KINDS[request.param](3).double(), 0.3)


def autograd_jacobian(velocity, x, t):
    """dv_i/dx_j of each point, one at a time, with t a number or one time for each point."""
    full = torch.func.jacrev(lambda y: velocity(y, t))(x)
    batch, n, dim = x.shape
    return torch.stack([torch.stack([full[b, i, :, b, i] for i in range(n)]) for b in range(batch)]).reshape(
        batch, n, dim, dim
    )


def times(kind, n=5):
    return 0.3 if kind == "number" else torch.rand(2, n, **F64)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("time", ["number", "tensor"])
def test_jacobian_is_that_of_autograd(field, time, n):
    """For fewer points than dimensions as well as for more."""
    velocity, x, t = field(torch.randn(2, 3, **F64)), torch.randn(2, n, 3, **F64), times(time, n)
    value, local = velocity.linearise(x, t)
    jacobian = velocity.jacobian(local)
    torch.testing.assert_close(value, velocity(x, t), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(jacobian, autograd_jacobian(velocity, x, t), rtol=1e-11, atol=1e-12)
    assert jacobian.abs().max() > 0.1


def test_jacobians_of_several_calls_at_once(field):
    velocity, x = field(torch.randn(2, 3, **F64)), torch.randn(2, 4, 3, **F64)
    forms = [velocity.linearise(x, t)[1] for t in (0.2, 0.8)]
    together = velocity.jacobian(torch.cat([forms[0], 3.0 * forms[1]], dim=1))
    one_by_one = torch.cat([velocity.jacobian(forms[0]), 3.0 * velocity.jacobian(forms[1])], dim=1)
    torch.testing.assert_close(together, one_by_one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("time", ["number", "tensor"])
def test_divergence_is_the_trace_of_autograds_jacobian(field, time):
    velocity, x, t = field(torch.randn(2, 3, **F64)), torch.randn(2, 5, 3, **F64), times(time)
    value, divergence = velocity.divergence(x, t)
    trace = autograd_jacobian(velocity, x, t).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(value, velocity(x, t), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(divergence, trace, rtol=1e-11, atol=1e-12)


def test_one_time_for_each_point_equals_numbers_one_by_one(field):
    velocity, x, t = field(torch.randn(2, 3, **F64)), torch.randn(2, 5, 3, **F64), torch.rand(2, 5, **F64)
    one_by_one = torch.stack([velocity(x[:, i : i + 1], t[b, i].item())[b, 0] for b in range(2) for i in range(5)])
    torch.testing.assert_close(velocity(x, t).reshape(10, 3), one_by_one, rtol=1e-12, atol=1e-12)


def test_each_state_has_its_own_field_and_no_other_states(field):
    features, x = torch.randn(4, 3, **F64), torch.randn(4, 5, 3, **F64)
    together = field(features)(x, 0.6)
    alone = torch.cat([field(features[i : i + 1])(x[i : i + 1], 0.6) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    assert (field(features)(x[:1].expand(4, -1, -1), 0.6).std(0) > 1e-3).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_field_is_zero_everywhere_and_learns(kind):
    field = KINDS[kind](3)
    velocity = field(torch.randn(2, 3))
    x = torch.randn(2, 5, 3)
    for t in (0.0, 0.5, torch.rand(2, 5)):
        value, local = velocity.linearise(x, t)
        assert not value.any() and not velocity.jacobian(local).any()
    gradients = torch.autograd.grad((velocity(x, 0.3) - 1.0).square().sum(), field.parameters(), allow_unused=True)
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("affine", [False, True])
def test_structured_velocity_is_its_formula(affine):
    """v = W_2 [g tanh(k W_1 x + b)] + M x + m, each coefficient a Chebyshev series in 2t - 1, written out in numpy."""
    rng, dim, hidden, n_basis, t = np.random.default_rng(0), 2, 5, 4, 0.37
    w1, w2 = rng.normal(size=(hidden, dim)), rng.normal(size=(dim, hidden))
    series = {"g": rng.normal(size=(n_basis, hidden)), "k": rng.normal(size=(n_basis, hidden))}
    series |= {"b": rng.normal(size=(n_basis, hidden)), "m": rng.normal(size=(n_basis, dim))}
    series["M"] = rng.normal(size=(n_basis, dim, dim))
    at = {name: numpy_chebyshev.chebval(2 * t - 1, c) for name, c in series.items()}
    x = rng.normal(size=dim)
    expected = w2 @ (at["g"] * np.tanh(at["k"] * (w1 @ x) + at["b"])) + at["m"] + affine * (at["M"] @ x)

    names = ["g", "k", "b", "m", "M"] if affine else ["g", "k", "b", "m"]
    coefficients = np.concatenate([series[name].reshape(n_basis, -1) for name in names], axis=1)
    field = StructuredField(1, dim, affine=affine, units=hidden, n_basis=n_basis).double()
    numbers = np.concatenate([w1.T.ravel(), w2.ravel(), coefficients.ravel()])
    field.head.bias.data = torch.tensor(numbers)
    velocity = field(torch.zeros(1, 1, **F64))
    np.testing.assert_allclose(velocity(torch.tensor(x).view(1, 1, dim), t).ravel().detach(), expected, rtol=1e-12)


def test_times_told_beforehand_change_nothing(field):
    features, x = torch.randn(2, 3, **F64), torch.randn(2, 5, 3, **F64)
    expected = [field(features)(x, t) for t in (0.0, 0.3, 0.9)]
    field.prepare((0.9, 0.0))
    velocity = field(features)
    for t, reference in zip((0.0, 0.3, 0.9), expected, strict=True):
        torch.testing.assert_close(velocity(x, t), reference, rtol=1e-12, atol=1e-12)
    assert "basis" not in field.state_dict()


@pytest.mark.parametrize("n_terms", [1, 2, 3, 6])
def test_chebyshev_is_numpys(n_terms):
    t = torch.rand(3, 4, **F64)
    expected = numpy_chebyshev.chebvander(2.0 * t.numpy() - 1.0, n_terms - 1)
    np.testing.assert_allclose(chebyshev(t, n_terms), expected, atol=1e-13)


def test_expanded_points_are_points(perturb):
    velocity = perturb(MLPField(3, 2, hidden=(8,)))(torch.randn(2, 3))
    x = torch.randn(2, 1, 2).expand(-1, 5, -1)
    torch.testing.assert_close(velocity.divergence(x, 0.4)[0], velocity(x.contiguous(), 0.4))


def test_second_derivatives_reach_the_parameters(field):
    """The exact density of a sample is learnt through the Jacobian: its gradient is that of finite differences."""
    features, x = torch.randn(1, 3, **F64), torch.randn(1, 2, 3, **F64)

    def of_jacobian():
        velocity = field(features)
        return velocity.jacobian(velocity.linearise(x, 0.3)[1]).square().sum()

    for parameter in field.parameters():
        (gradient,) = torch.autograd.grad(of_jacobian(), parameter, allow_unused=True, materialize_grads=True)
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            parameter.add_(1e-6 * direction)
            up = of_jacobian()
            parameter.add_(-2e-6 * direction)
            down = of_jacobian()
            parameter.add_(1e-6 * direction)
        assert (gradient * direction).sum().item() == pytest.approx((up - down).item() / 2e-6, rel=1e-5, abs=1e-8)


def test_the_plane_has_more_units():
    """Rings and separate modes need them there (docs/design.md)."""
    assert [StructuredField(3, dim).units for dim in (1, 2, 3, 17)] == [16, 48, 16, 16]
    assert StructuredField(3, 2, units=5).units == 5


def test_a_field_without_a_constructor_of_its_own():
    class Still(VelocityField):
        def forward(self, features):
            return AutogradVelocity(lambda x, t: 0.0 * x)

    flow, features, noise = make_flow(3, 2, field=Still), torch.randn(4, 3), torch.randn(4, 5, 2)
    torch.testing.assert_close(flow(features).push(noise), flow.base(features).unwhiten(noise))
