"""The structured field: deep in the state and in time, shallow in x, its divergence and Jacobian in closed form."""

from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import nn

from sb3_flowsac.checks import integer
from sb3_flowsac.flow.velocity import NumpyArray, NumpyVelocity, Time, VelocityField

MAX_UNITS, MAX_BASIS = 2**16, 2**10  # far above any use


def chebyshev(t: torch.Tensor, n_terms: int) -> torch.Tensor:
    """
    The Chebyshev polynomials T_0 ... T_{n-1} of 2t - 1.

    :param t: times in [0, 1], shape (...)
    :param n_terms: number of polynomials, at least 1
    :return: (..., n_terms)
    """
    s = 2.0 * t - 1.0
    terms = [torch.ones_like(s), s]
    while len(terms) < n_terms:
        terms.append(2.0 * s * terms[-1] - terms[-2])
    return torch.stack(terms[:n_terms], dim=-1)


class StructuredField(VelocityField):
    r"""
    A field that is deep in the state and in time but shallow in x, so that its divergence costs nothing:

    .. math:: v(x, t, s) = W_2(s) \, [g \tanh(k \, W_1(s) x + b)] + M x + m

    where one linear map of the features gives W_1 (units x dim), W_2 (dim x units) and, for each of ``n_basis``
    Chebyshev polynomials in t, the vectors g, k, b, m and, if ``affine``, the matrix M. Its Jacobian is
    W_2 diag(g k sech^2) W_1 + M. One pass serves every point and every time of a state. It starts at v = 0.

    :param features_dim: size of the state's features
    :param dim: dimension of x
    :param affine: whether to have the term M x, which alone carries a Gaussian to a Gaussian
    :param units: number of tanh units; default 48 in the plane, where densities may be rings and units cost little,
        else 16
    :param n_basis: number of Chebyshev polynomials in t
    :raises ValueError: if a number is out of range
    """

    def __init__(
        self, features_dim: int, dim: int, *, affine: bool = False, units: int | None = None, n_basis: int = 4
    ) -> None:
        super().__init__(features_dim, dim)
        units = integer("units", self.default_kwargs(dim)["units"] if units is None else units, 1, MAX_UNITS)
        self.layout = Layout(dim, units, integer("n_basis", n_basis, 1, MAX_BASIS), affine)
        self.head = nn.Linear(features_dim, sum(self.layout.sizes))
        self._reset_parameters()
        self.prepare(())

    @classmethod
    def default_kwargs(cls, dim: int) -> dict[str, Any]:
        return {"units": 48 if dim == 2 else 16}

    @property
    def units(self) -> int:
        """Number of tanh units."""
        return self.layout.units

    @torch.no_grad()
    def _reset_parameters(self) -> None:
        """Random units in x that are alike in every state (in the bias), and a zero gain: v = 0."""
        w_in, w_out, coefficients = self.layout.split(self.head.bias.unsqueeze(-1))
        nn.init.normal_(w_in, std=self.dim**-0.5)
        nn.init.normal_(w_out, std=self.units**-0.5)
        nn.init.zeros_(coefficients)
        _, frequency, phase, _, _ = torch.split(coefficients[0], self.layout.coefficient_sizes)
        nn.init.ones_(frequency)
        nn.init.uniform_(phase, -1.5, 1.5)
        weights = self.layout.split(self.head.weight)[2]
        gain, _, _, drift, matrix = torch.split(weights, self.layout.coefficient_sizes, 1)
        for of_features in (gain, drift, matrix):
            nn.init.zeros_(of_features)

    def prepare(self, times: tuple[float, ...]) -> None:
        self.times = times
        basis = chebyshev(torch.tensor(times, dtype=torch.float64), self.layout.n_basis).to(self.head.weight)
        self.basis = nn.Buffer(basis, persistent=False)

    def forward(self, features: torch.Tensor) -> "StructuredVelocity":
        # Training has many points of each state: its rows stay together in memory, otherwise its columns
        training = torch.is_grad_enabled()
        head = self.head
        columns = head(features).T if training else torch.addmm(head.bias.unsqueeze(1), head.weight, features.T)
        return StructuredVelocity(columns, self.layout, self.times, self.basis)


class Layout:
    """
    The order of the numbers that make up the field of a state: W_1 transposed, W_2, and the coefficients by polynomial.

    :param dim: dimension of x
    :param units: number of tanh units
    :param n_basis: number of polynomials in t
    :param affine: whether there is a matrix M
    """

    def __init__(self, dim: int, units: int, n_basis: int, affine: bool) -> None:
        self.dim, self.units, self.n_basis, self.affine = dim, units, n_basis, affine
        self.coefficient_sizes = [units, units, units, dim, dim**2 if affine else 0]  # of g, k, b, m and M
        self.sizes = [dim * units, dim * units, n_basis * sum(self.coefficient_sizes)]

    def split(self, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """W_1 transposed and W_2 (dim, units, batch), coefficients (n_basis, numbers, batch)."""
        w_in, w_out, coefficients = torch.split(columns, self.sizes)
        batch, numbers = columns.shape[1], sum(self.coefficient_sizes)  # named: -1 is unknown for no state
        shape = self.dim, self.units, batch
        return w_in.reshape(shape), w_out.reshape(shape), coefficients.reshape(self.n_basis, numbers, batch)


@final
class StructuredVelocity:
    """
    The field of ``StructuredField`` for a batch of states.

    :param columns: the numbers of each state in the order of the layout, (numbers, batch)
    :param layout: that order
    :param times: times whose coefficients are computed together, when one of them is asked for
    :param basis: the Chebyshev polynomials at these times, (len(times), n_basis)
    """

    def __init__(self, columns: torch.Tensor, layout: Layout, times: tuple[float, ...], basis: torch.Tensor) -> None:
        self._numbers = columns, layout, times, basis
        # Solvers come back to the same states and times: what they need is kept, apart with and without gradients
        self._forms: dict[tuple[type[_Points], bool], _Points] = {}

    def __call__(self, x: torch.Tensor, t: Time) -> torch.Tensor:
        form, at, x, activation = self._activate(x, t)
        return form.leave(form.velocity(x, at, activation))

    def divergence(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        form, at, x, activation = self._activate(x, t)
        return form.leave(form.velocity(x, at, activation)), form.trace(form.slope(activation, at), at)

    def linearise(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        """The local form is g k sech^2, (batch, n, units), followed by the entries of M if there is one."""
        form, at, x, activation = self._activate(x, t)
        local = form.leave(form.slope(activation, at))
        if form.layout.affine:
            local = torch.cat([local, form.leave(at.matrix).expand(-1, local.shape[1], -1)], dim=-1)
        return form.leave(form.velocity(x, at, activation)), local

    def jacobian(self, local: torch.Tensor) -> torch.Tensor:
        return self._form(_Points).jacobian(local)

    def in_numpy(self) -> NumpyVelocity:
        """See ``ConditionalFlow.push``."""
        columns, layout, times, basis = self._numbers
        numbers, batch, dim, (a, b, _) = columns.numpy(), columns.shape[1], layout.dim, layout.sizes
        w_in, w_out = (part.reshape(dim, layout.units, batch) for part in (numbers[:a], numbers[a : a + b]))
        at_times = basis.numpy() @ numbers[a + b :].reshape(layout.n_basis, -1)
        vectors = at_times.reshape(len(times), sum(layout.coefficient_sizes), batch).transpose(0, 2, 1)
        if batch == 1:  # products of matrices, not of stacks of matrices: they take half of the time
            w_in, w_out = w_in[..., 0], w_out[..., 0]
        else:
            w_in, w_out, vectors = w_in.transpose(2, 0, 1), w_out.transpose(2, 0, 1), vectors[:, :, None]
        ends = accumulate(layout.coefficient_sizes, initial=0)
        gain, frequency, phase, drift, matrix = (vectors[..., start:end] for start, end in pairwise(ends))
        if layout.affine:
            matrix = matrix.reshape(*matrix.shape[:-2], dim, dim).swapaxes(-1, -2)
        parts = zip(w_in * frequency, phase, (w_out * gain).swapaxes(-1, -2), drift, matrix, strict=True)
        at = dict(zip(times, parts, strict=True))

        def velocity(x: NumpyArray, t: float) -> NumpyArray:
            into, phase, out_of, drift, matrix = at[t]
            units = x @ into
            units += phase
            result: NumpyArray = np.tanh(units, out=units) @ out_of
            result += drift
            return result + x @ matrix if layout.affine else result

        return velocity

    def _activate(self, x: torch.Tensor, t: Time) -> "tuple[_Points, _AtTime, torch.Tensor, torch.Tensor]":
        """Of points at a time: the form that suits them, its coefficients, the points in its arrangement, and tanh."""
        single = x.shape[1] == 1 and x.shape[0] > 1
        form = self._form(_TimedPoints if isinstance(t, torch.Tensor) else _Singles if single else _Points)
        at, x = form.at(t), form.enter(x)
        return form, at, x, form.activation(x, at)

    def _form(self, form: "type[_Points]") -> "_Points":
        key = form, torch.is_grad_enabled()
        if key not in self._forms:
            self._forms[key] = form(*self._numbers)
        return self._forms[key]


class _AtTime(NamedTuple):
    """g (or W_2 g), k (or k W_1), g k, b, m and the entries of M at a time, or at several."""

    gain: torch.Tensor
    frequency: torch.Tensor
    steepness: torch.Tensor
    phase: torch.Tensor
    drift: torch.Tensor
    matrix: torch.Tensor


class _Points:
    """The formula for points (batch, n, dim) at one time, with W_2 g and k W_1 as matrices."""

    fuses = True  # g with W_2 and k with W_1
    numbers_axis = -1
    dim_axis = 1

    def __init__(self, columns: torch.Tensor, layout: Layout, times: tuple[float, ...], basis: torch.Tensor) -> None:
        self.layout, self.times, self.basis = layout, times, basis
        w_in, w_out, self.coefficients = layout.split(columns)
        self.w_in, self.w_out = self.arrange(w_in), self.arrange(w_out)
        self._at: dict[float, _AtTime] = {}
        self._per_unit: torch.Tensor | None = None

    def at(self, t: Any) -> _AtTime:
        """Coefficients at a time, computed for all known times at once."""
        if t not in self._at:
            times, basis = self.times, self.basis
            if t not in times:
                times, basis = (t,), chebyshev(self.coefficients.new_tensor([t]), self.layout.n_basis)
            at_times = (basis @ self.coefficients.flatten(1)).view(len(basis), *self.coefficients.shape[1:])
            self._at.update(zip(times, map(_AtTime, *self.named(self.by_time(at_times))), strict=True))
        return self._at[t]

    def named(self, coefficients: torch.Tensor) -> _AtTime:
        """W_2 g (times, batch, units, dim), k W_1 (times, batch, dim, units), or g and k; g k, b, m and M."""
        sizes = self.layout.coefficient_sizes
        gain, frequency, phase, drift, matrix = torch.split(coefficients, sizes, self.numbers_axis)
        steepness = gain * frequency
        if self.fuses:
            gain, frequency = (self.w_out * gain).transpose(2, 3), self.w_in * frequency
        return _AtTime(gain, frequency, steepness, phase, drift, matrix)

    def arrange(self, columns: torch.Tensor) -> torch.Tensor:
        """(..., batch) to (batch, ...)."""
        rows = columns.flatten(0, -2).T
        rows = rows if rows.stride(1) == 1 else rows.contiguous()
        return rows.view(columns.shape[-1], *columns.shape[:-1])

    def by_time(self, at_times: torch.Tensor) -> torch.Tensor:
        """(times, numbers, batch) to (times, batch, 1, numbers)."""
        return self.arrange(at_times).transpose(0, 1).unsqueeze(2)

    def enter(self, x: torch.Tensor) -> torch.Tensor:
        """From (batch, n, ...) to this form's arrangement of axes."""
        return x

    def leave(self, x: torch.Tensor) -> torch.Tensor:
        """From this form's arrangement of axes to (batch, n, ...)."""
        return x

    def activation(self, x: torch.Tensor, at: _AtTime) -> torch.Tensor:
        """tanh(k W_1 x + b)."""
        return torch.baddbmm(at.phase, x, at.frequency).tanh_()

    def slope(self, activation: torch.Tensor, at: _AtTime) -> torch.Tensor:
        """g k sech^2."""
        return torch.addcmul(at.steepness, at.steepness * activation, activation, value=-1.0)

    def velocity(self, x: torch.Tensor, at: _AtTime, activation: torch.Tensor) -> torch.Tensor:
        """W_2 (g activation) + m + M x."""
        velocity = torch.baddbmm(at.drift, activation, at.gain)
        return torch.baddbmm(velocity, x, self.square(at.matrix.squeeze(1)).mT) if self.layout.affine else velocity

    def square(self, matrix: torch.Tensor) -> torch.Tensor:
        """M of its entries, (..., dim^2) to (..., dim, dim)."""
        return matrix.view(*matrix.shape[:-1], self.layout.dim, self.layout.dim)

    def trace(self, slope: torch.Tensor, at: _AtTime) -> torch.Tensor:
        """The divergence, (batch, n)."""
        trace = (slope @ self.per_unit().unsqueeze(-1)).squeeze(-1)
        return trace + at.matrix[..., :: self.layout.dim + 1].sum(-1) if self.layout.affine else trace

    def per_unit(self) -> torch.Tensor:
        """What each unit adds to the trace, for a slope of 1: (batch, units)."""
        if self._per_unit is None:  # torch.compile cannot trace a cached_property: before Python 3.12 it has a lock
            self._per_unit = (self.w_in * self.w_out).sum(self.dim_axis)
        return self._per_unit

    def jacobian(self, local: torch.Tensor) -> torch.Tensor:
        """See ``Velocity``."""
        batch, dim, units = self.w_in.shape
        slope, matrix = local[..., :units], local[..., units:]
        if 2 * local.shape[1] < dim:  # too few points to pay for the outer products
            jacobian = (slope.unsqueeze(2) * self.w_out.unsqueeze(1)).flatten(1, 2) @ self.w_in.transpose(1, 2)
        else:
            jacobian = slope @ self.outer
        jacobian = jacobian.view(batch, local.shape[1], dim, dim)
        return jacobian + matrix.reshape(jacobian.shape) if self.layout.affine else jacobian

    @cached_property
    def outer(self) -> torch.Tensor:
        """What each unit adds to the Jacobian, (batch, units, dim * dim)."""
        return (self.w_out.unsqueeze(2) * self.w_in.unsqueeze(1)).flatten(1, 2).transpose(1, 2)


class _TimedPoints(_Points):
    """The formula for points (batch, n, dim), each at its own time."""

    fuses = False

    def at(self, t: Any) -> _AtTime:
        rows = self.arrange(self.coefficients)
        return self.named(chebyshev(t, rows.shape[1]) @ rows)

    def activation(self, x: torch.Tensor, at: _AtTime) -> torch.Tensor:
        return torch.addcmul(at.phase, at.frequency, x @ self.w_in).tanh_()

    def velocity(self, x: torch.Tensor, at: _AtTime, activation: torch.Tensor) -> torch.Tensor:
        velocity = (at.gain * activation) @ self.w_out.transpose(1, 2) + at.drift
        return velocity + (self.square(at.matrix) * x.unsqueeze(-2)).sum(-1) if self.layout.affine else velocity


class _Singles(_Points):
    """
    The formula for one point of each state at one time, in arrays (..., batch): torch's batched products take about a
    microsecond for each state, however small, and sums over contiguous memory half as long.
    """

    fuses = False
    numbers_axis = 1
    dim_axis = 0

    def arrange(self, columns: torch.Tensor) -> torch.Tensor:
        return columns

    def by_time(self, at_times: torch.Tensor) -> torch.Tensor:
        return at_times

    def enter(self, x: torch.Tensor) -> torch.Tensor:
        return x.squeeze(1).T.contiguous()

    def leave(self, x: torch.Tensor) -> torch.Tensor:
        return x.T.unsqueeze(1)

    def activation(self, x: torch.Tensor, at: _AtTime) -> torch.Tensor:
        return torch.addcmul(at.phase, at.frequency, (self.w_in * x.unsqueeze(1)).sum(0)).tanh_()

    def velocity(self, x: torch.Tensor, at: _AtTime, activation: torch.Tensor) -> torch.Tensor:
        velocity = (at.gain * activation * self.w_out).sum(1) + at.drift
        return velocity + (at.matrix.view(*x.shape[:1], *x.shape) * x).sum(1) if self.layout.affine else velocity

    def trace(self, slope: torch.Tensor, at: _AtTime) -> torch.Tensor:
        trace = (slope * self.per_unit()).sum(0)
        return (trace + at.matrix[:: self.layout.dim + 1].sum(0) if self.layout.affine else trace).unsqueeze(1)
