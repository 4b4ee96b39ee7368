"""The Runge-Kutta integration: order of convergence, the exact Jacobian of the steps, and their inversion."""

import math

import numpy as np
import pytest
import torch

from sb3_flowsac.flow import SOLVERS, MLPField, StructuredField, integrate, invert, ode, time_grid
from sb3_flowsac.flow.ode import stage_times

F64 = {"dtype": torch.float64}
ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


class Dense:
    """A velocity whose ``linearise`` gives the Jacobian itself."""

    def jacobian(self, local):
        return local


class SeparableVelocity(Dense):
    """
    dx_i/dt = (1 + 2 t) cos(t + t^2) tanh(x_i), componentwise, so that sinh x(t) = sinh x(0) exp(sin(t + t^2)).

    Nonlinear, time-dependent and solved in closed form.
    """

    @staticmethod
    def _rate(t):
        return (1.0 + 2.0 * t) * math.cos(t + t**2)

    def __call__(self, x, t):
        return self._rate(t) * torch.tanh(x)

    def divergence(self, x, t):
        return self(x, t), (self._rate(t) / torch.cosh(x) ** 2).sum(-1)

    def linearise(self, x, t):
        return self(x, t), torch.diag_embed(self._rate(t) / torch.cosh(x) ** 2)

    @staticmethod
    def solution(x):
        """x(1) and log |dx(1)/dx(0)|."""
        growth = math.exp(math.sin(2.0))
        end = torch.asinh(torch.sinh(x) * growth)
        return end, (torch.cosh(x) * growth / torch.cosh(end)).log().sum(-1)


class LinearVelocity(Dense):
    """dx/dt = A x."""

    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, x, t):
        return x @ self.matrix.T

    def divergence(self, x, t):
        return self(x, t), self.matrix.trace().expand(x.shape[:-1])

    def linearise(self, x, t):
        return self(x, t), self.matrix.expand(*x.shape[:-1], -1, -1)


class FoldingVelocity(Dense):
    """v = -2 tanh x: one Euler step x - 2 tanh x folds the line over where 2 sech^2 x > 1, about |x| < 0.88."""

    def __call__(self, x, t):
        return -2.0 * torch.tanh(x)

    def linearise(self, x, t):
        return self(x, t), torch.diag_embed(-2.0 / torch.cosh(x) ** 2)


def make_velocity(kind, dim, perturb, batch=2):
    """A non-trivial field in float64 for two states."""
    field = {
        "structured": lambda: StructuredField(3, dim, units=8),
        "affine": lambda: StructuredField(3, dim, units=8, affine=True),
        "mlp": lambda: MLPField(3, dim, hidden=(8, 8)),
    }[kind]()
    return perturb(field.double())(0.5 * torch.randn(batch, 3, **F64))


@pytest.mark.parametrize("power", [1.0, 1.5])
@pytest.mark.parametrize("volume", ["trace", "exact"])
@pytest.mark.parametrize("name", SOLVERS)
def test_halving_the_step_divides_the_error_by_two_to_the_order(name, volume, power):
    solver, x = SOLVERS[name], torch.linspace(-1.5, 1.6, 8, **F64).view(1, 4, 2)
    end, log_volume = SeparableVelocity.solution(x)

    def errors(n_steps):
        result = integrate(SeparableVelocity(), x, time_grid(n_steps, power), solver, volume)
        return torch.stack([(result.x - end).abs().max(), (result.log_volume - log_volume).abs().max()])

    # error = C h^p (1 + O(h)): the ratio of two errors is off its limit by O(h), so twice the steps halve the deviation
    ratio = errors(64) / errors(128)
    np.testing.assert_allclose(ratio, 2.0 ** ORDERS[name], rtol=0.1)


@pytest.mark.parametrize("name", SOLVERS)
def test_one_step_of_a_linear_field_is_the_truncated_exponential(name):
    matrix = torch.tensor([[0.3, -1.1], [0.7, -0.4]], **F64)
    expected = sum(torch.linalg.matrix_power(matrix, k) / math.factorial(k) for k in range(ORDERS[name] + 1))
    x = torch.randn(1, 5, 2, **F64)
    result = integrate(LinearVelocity(matrix), x, (0.0, 1.0), SOLVERS[name], "exact")
    torch.testing.assert_close(result.x, x @ expected.T, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(result.log_volume, expected.det().log().expand(1, 5), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("kind", ["structured", "affine", "mlp"])
@pytest.mark.parametrize("name", SOLVERS)
def test_exact_volume_is_the_determinant_of_the_whole_map(name, kind, dim, perturb):
    velocity, solver, x = make_velocity(kind, dim, perturb), SOLVERS[name], torch.randn(2, 3, dim, **F64)
    grid = time_grid(3, 1.4)
    result = integrate(velocity, x, grid, solver, "exact")
    full = torch.func.jacrev(lambda y: integrate(velocity, y, grid, solver).x)(x)
    for b in range(2):
        for i in range(3):
            sign, logarithm = np.linalg.slogdet(full[b, i, :, b, i].numpy(force=True))
            assert sign == 1 and not result.irregular[b, i]
            assert result.log_volume[b, i].item() == pytest.approx(logarithm, abs=1e-11)


@pytest.mark.parametrize("volume", ["none", "trace", "exact"])
def test_end_points_do_not_depend_on_which_volume_is_asked_for(volume, perturb):
    velocity, x = make_velocity("affine", 2, perturb), torch.randn(2, 3, 2, **F64)
    result = integrate(velocity, x, time_grid(4), SOLVERS["midpoint"], volume)
    reference = x
    for k in range(4):  # the paper's RK2, written out
        middle = reference + 0.125 * velocity(reference, k / 4)
        reference = reference + 0.25 * velocity(middle, k / 4 + 0.125)
    torch.testing.assert_close(result.x, reference, rtol=1e-13, atol=1e-13)
    assert (result.log_volume is None) == (volume == "none")
    assert (result.irregular is None) == (volume != "exact")


def test_a_decreasing_grid_integrates_backwards():
    x = torch.linspace(-1.0, 1.0, 6, **F64).view(1, 3, 2)
    end, log_volume = SeparableVelocity.solution(x)
    back = integrate(SeparableVelocity(), end, time_grid(100)[::-1], SOLVERS["rk4"], "trace")
    torch.testing.assert_close(back.x, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(back.log_volume, -log_volume, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("kind", ["structured", "affine", "mlp"])
@pytest.mark.parametrize("name", SOLVERS)
def test_invert_undoes_integrate(name, kind, dim, perturb):
    velocity, solver, x = make_velocity(kind, dim, perturb), SOLVERS[name], torch.randn(2, 50, dim, **F64)
    grid = time_grid(3)
    end = integrate(velocity, x, grid, solver, "exact")
    start = invert(velocity, end.x, grid, solver)
    assert not end.irregular.any() and not start.irregular.any()
    torch.testing.assert_close(start.x, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(start.log_volume, end.log_volume, rtol=0, atol=1e-11)


def test_running_backwards_is_not_the_inverse(perturb):
    velocity, solver, x = make_velocity("structured", 2, perturb), SOLVERS["midpoint"], torch.randn(2, 50, 2, **F64)
    end = integrate(velocity, x, time_grid(2), solver).x
    backwards = integrate(velocity, end, time_grid(2)[::-1], solver).x
    assert (backwards - x).abs().max() > 1e-3


def test_invert_in_single_precision_is_not_flagged(perturb):
    field = perturb(StructuredField(3, 3, units=8))
    velocity, solver, x = field(torch.randn(2, 3)), SOLVERS["midpoint"], 3.0 * torch.randn(2, 500, 3)
    end = integrate(velocity, x, time_grid(4), solver, "exact")
    start = invert(velocity, end.x, time_grid(4), solver)
    assert torch.equal(start.irregular, end.irregular)
    torch.testing.assert_close(start.x[~end.irregular], x[~end.irregular], rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["structured", "affine", "mlp"])
def test_gradients_of_invert_are_those_of_finite_differences(kind, perturb):
    field = {
        "structured": StructuredField(2, 2, units=3, n_basis=2),
        "affine": StructuredField(2, 2, units=3, n_basis=2, affine=True),
        "mlp": MLPField(2, 2, hidden=(3,)),
    }[kind]
    perturb(field.double())
    names, values = zip(*field.named_parameters(), strict=True)
    features, grid, solver = torch.randn(1, 2, **F64), time_grid(2), SOLVERS["midpoint"]

    def inverse(x, *parameters):
        velocity = torch.func.functional_call(field, dict(zip(names, parameters, strict=True)), (features,))
        start = invert(velocity, x, grid, solver)
        return start.x, start.log_volume

    x = torch.randn(1, 2, 2, **F64, requires_grad=True)
    assert torch.autograd.gradcheck(inverse, (x, *values), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["structured", "affine", "mlp"])
def test_gradients_of_integrate_do_not_depend_on_an_earlier_call_without_gradients(kind, perturb):
    field = {"structured": StructuredField, "affine": StructuredField, "mlp": MLPField}[kind]
    field = field(3, 2, **({"affine": True} if kind == "affine" else {}))
    perturb(field.double())
    features, x = torch.randn(2, 3, **F64), torch.randn(2, 3, 2, **F64)

    def gradients(velocity):
        end = integrate(velocity, x, time_grid(2), SOLVERS["midpoint"], "exact")
        return torch.autograd.grad(end.x.square().sum() + end.log_volume.sum(), field.parameters())

    expected, velocity = gradients(field(features)), field(features)
    with torch.no_grad():
        integrate(velocity, x, time_grid(2), SOLVERS["midpoint"], "exact")
    for actual, reference in zip(gradients(velocity), expected, strict=True):
        torch.testing.assert_close(actual, reference)


def test_negative_determinant_is_reported_as_irregular():
    x = torch.linspace(-2.0, 2.0, 41, **F64).view(1, 41, 1)
    slope = 1.0 - 2.0 / torch.cosh(x[..., 0]) ** 2
    result = integrate(FoldingVelocity(), x, (0.0, 1.0), SOLVERS["euler"], "exact")
    assert torch.equal(result.irregular, slope < 0)
    assert result.irregular.any() and not result.irregular.all()
    torch.testing.assert_close(result.log_volume, slope.abs().log())


def test_one_negative_eigenvalue_is_irregular_even_if_a_later_step_turns_space_back():
    """Two steps that each mirror one axis have a positive determinant together."""
    matrix = torch.diag(torch.tensor([-6.0, 0.5], **F64))
    x = torch.randn(1, 4, 2, **F64)
    result = integrate(LinearVelocity(matrix), x, time_grid(2), SOLVERS["euler"], "exact")
    assert (result.x[..., 0] * x[..., 0] > 0).all()
    assert result.irregular.all()


def test_invert_reports_points_without_a_regular_preimage():
    """One Euler step maps x to sqrt(1 + x^2) >= 1, so that no x goes to 0."""

    class Unreachable(Dense):
        def __call__(self, x, t):
            return (1.0 + x**2).sqrt() - x

        def linearise(self, x, t):
            return self(x, t), torch.diag_embed(x / (1.0 + x**2).sqrt() - 1.0)

    result = invert(Unreachable(), torch.tensor([[[0.0], [3.0]]], **F64), (0.0, 1.0), SOLVERS["euler"])
    assert result.irregular[0, 0]
    assert abs(result.x[0, 1, 0].item()) == pytest.approx(math.sqrt(8.0))


@pytest.mark.parametrize("steepness", [2.0, 3.0, 6.0])
def test_invert_finds_points_that_newtons_method_alone_jumps_over(steepness):
    """One Euler step maps x to x + c tanh(4 x): from its flat sides the corrections leap over the steep middle and
    back."""

    class Steep(Dense):
        def __call__(self, x, t):
            return steepness * torch.tanh(4.0 * x)

        def linearise(self, x, t):
            return self(x, t), torch.diag_embed(4.0 * steepness / torch.cosh(4.0 * x).square())

    x = torch.linspace(-3.0, 3.0, 601, **F64).view(1, -1, 1)
    result = invert(Steep(), x + steepness * torch.tanh(4.0 * x), (0.0, 1.0), SOLVERS["euler"])
    torch.testing.assert_close(result.x, x, rtol=1e-12, atol=1e-12)
    assert not result.irregular.any()


@pytest.mark.parametrize("most_entries", [1, 100, 2**18])
def test_the_volume_does_not_depend_on_how_many_steps_are_taken_together(most_entries, perturb, monkeypatch):
    velocity, x = make_velocity("affine", 2, perturb), torch.randn(2, 3, 2, **F64)
    expected = integrate(velocity, x, time_grid(7, 1.4), SOLVERS["rk4"], "exact")
    monkeypatch.setattr(ode, "MOST_ENTRIES", most_entries)
    actual = integrate(velocity, x, time_grid(7, 1.4), SOLVERS["rk4"], "exact")
    torch.testing.assert_close(actual.log_volume, expected.log_volume, rtol=1e-12, atol=1e-12)
    assert torch.equal(actual.irregular, expected.irregular)


@pytest.mark.parametrize("name", SOLVERS)
def test_stage_times_are_those_at_which_the_velocity_is_asked_for(name):
    asked = []

    class Watched(SeparableVelocity):
        def __call__(self, x, t):
            asked.append(t)
            return super().__call__(x, t)

    integrate(Watched(), torch.ones(1, 1, 1), time_grid(3, 1.4), SOLVERS[name])
    assert tuple(asked) == stage_times(time_grid(3, 1.4), SOLVERS[name])


@pytest.mark.parametrize(
    ("power", "expected"), [(1.0, [0.0, 0.25, 0.5, 0.75, 1.0]), (2.0, [0.0, 0.4375, 0.75, 0.9375, 1.0])]
)
def test_time_grid(power, expected):
    assert time_grid(4, power) == pytest.approx(expected)


def test_unknown_volume_is_named():
    with pytest.raises(ValueError, match=r"volume='det'.*trace"):
        integrate(LinearVelocity(torch.eye(1)), torch.zeros(1, 1, 1), (0.0, 1.0), SOLVERS["euler"], "det")
