"""The options of a flow: what they may be, what is kept of them, and fields and solvers of one's own."""

import math

import pytest
import torch
from torch import nn

from sb3_flowsac.flow import FIELDS, SOLVERS, AutogradVelocity, Solver, VelocityField, make_flow

RALSTON = Solver(nodes=(0.0, 2 / 3), stages=((), (2 / 3,)), weights=(1 / 4, 3 / 4))


class OwnField(VelocityField):
    """What a user writes: v(x, t) alone."""

    def __init__(self, features_dim, dim, *, affine, width=4):
        super().__init__(features_dim, dim)
        self.affine, self.net = affine, nn.Linear(dim + 1, dim)
        self.width = width

    def forward(self, features):
        size = features.mean(-1)[:, None, None]
        return AutogradVelocity(lambda x, t: size * torch.tanh(self.net(torch.cat([x, t], dim=-1))))


@pytest.mark.parametrize("solver", [*SOLVERS, RALSTON], ids=str)
@pytest.mark.parametrize("field", [*FIELDS, OwnField], ids=str)
@pytest.mark.parametrize("base", ["gaussian", "standard"])
def test_every_field_and_solver_has_samples_a_density_and_an_inverse(perturb, base, field, solver):
    flow = perturb(make_flow(3, 2, base=base, field=field, ode_solver=solver, ode_steps=3).double())
    features = torch.randn(4, 3, dtype=torch.float64)
    distribution = flow(features)
    u, log_prob = distribution.sample_with_log_prob(5)
    torch.testing.assert_close(distribution.log_prob(u), log_prob, rtol=0, atol=1e-9)
    noise = distribution.noise(2)
    with torch.no_grad():
        torch.testing.assert_close(flow.push(features, noise), distribution.push(noise), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kwargs", [{}, {"base": "standard", "field": OwnField, "field_kwargs": {"width": 2}}])
def test_options_rebuild_the_flow(kwargs):
    flow = make_flow(3, 2, ode_solver=RALSTON, **kwargs)
    other = make_flow(3, 2, **flow.options)
    other.load_state_dict(flow.state_dict())
    assert other.options == flow.options
    noise = torch.randn(1, 4, 2)
    assert torch.equal(flow(torch.ones(1, 3)).push(noise), other(torch.ones(1, 3)).push(noise))


@pytest.mark.parametrize(("dim", "units"), [(1, 16), (2, 48), (3, 16)])
def test_the_default_number_of_units_is_written_down(dim, units):
    assert make_flow(3, dim).options["field_kwargs"] == {"units": units}
    assert make_flow(3, dim, field_kwargs={"units": 5}).options["field_kwargs"] == {"units": 5}


def test_a_field_of_ones_own_is_told_of_the_base():
    assert make_flow(3, 2, base="standard", field=OwnField).field.affine
    assert not make_flow(3, 2, field=OwnField).field.affine


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base", "cauchy"),
        ("log_std_init", 1.5),
        ("log_std_init", -6.5),
        ("log_std_init", math.nan),
        ("field", "unet"),
        ("field", nn.Linear),
        ("ode_steps", 0),
        ("ode_steps", 2.5),
        ("ode_solver", "dopri5"),
        ("ode_grid_power", 0.0),
        ("ode_grid_power", math.inf),
        ("density", "hutchinson"),
    ],
)
def test_wrong_options_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must"):
        make_flow(3, 2, **{name: value})


@pytest.mark.parametrize(
    ("field", "kwargs", "found"),
    [
        ("mlp", {"units": 8}, "units.*MLPField|MLPField.*units"),
        (OwnField, {"depth": 8}, "OwnField.*depth"),
        ("structured", {"affine": True}, "affine"),
        ("structured", [8], "dictionary"),
    ],
)
def test_field_kwargs_that_do_not_fit_are_named(field, kwargs, found):
    with pytest.raises(TypeError, match=f"^field_kwargs.*({found})"):
        make_flow(3, 2, field=field, field_kwargs=kwargs)


@pytest.mark.parametrize("kwargs", [{"units": 0}, {"units": 2.5}, {"n_basis": 0}])
def test_numbers_of_the_structured_field_are_checked(kwargs):
    with pytest.raises(ValueError, match=f"^{next(iter(kwargs))} must"):
        make_flow(3, 2, field_kwargs=kwargs)


@pytest.mark.parametrize(
    ("nodes", "stages", "weights", "name"),
    [
        ((), (), (), "nodes"),
        ((0.0,), ((), (0.5,)), (1.0,), "nodes"),
        ((0.5,), ((0.5,),), (1.0,), "stages"),
        ((0.0, 0.5), ((), (0.4,)), (0.0, 1.0), "stages"),
        ((0.0,), ((),), (0.9,), "weights"),
    ],
)
def test_a_tableau_that_is_no_explicit_method_is_refused(nodes, stages, weights, name):
    with pytest.raises(ValueError, match=name):
        Solver(nodes, stages, weights)


@pytest.mark.parametrize(
    "velocity",
    [lambda x, t: torch.zeros_like(x), lambda x, t: torch.full((1,), 0.5, dtype=x.dtype).expand_as(x)],
)
def test_a_velocity_may_be_the_same_everywhere(velocity):
    class Drift(VelocityField):
        def forward(self, features):
            return AutogradVelocity(velocity)

    flow = make_flow(3, 2, field=Drift).double()
    distribution = flow(torch.zeros(2, 3, dtype=torch.float64))
    u, log_prob = distribution.sample_with_log_prob(5)
    torch.testing.assert_close(distribution.log_prob(u), log_prob)
    torch.testing.assert_close(log_prob, distribution.base.log_prob(u - velocity(u, 0.0)))


class Sampled(OwnField):
    def forward(self, features):
        return AutogradVelocity(lambda x, t: nn.functional.dropout(x))


class PlainFunction(OwnField):
    def forward(self, features):
        return lambda x, t: x


class WrongShape(OwnField):
    def forward(self, features):
        return AutogradVelocity(lambda x, t: x[..., :1])


@pytest.mark.parametrize("field", [Sampled, PlainFunction, WrongShape])
def test_a_field_that_gives_no_velocity_is_refused(field):
    with pytest.raises(ValueError, match=f"field must be a class whose .*{field.__name__}"):
        make_flow(3, 2, field=field)
