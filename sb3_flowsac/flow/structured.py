"""The structured field: deep in the state and in time, shallow in x, its divergence and Jacobian in closed form."""

from typing import Any, NamedTuple

import torch
from torch import nn

from sb3_flowsac.checks import integer
from sb3_flowsac.flow.velocity import Time, VelocityField

MAX_UNITS, MAX_BASIS = 2**16, 64  # far above any use


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
    """
    A field that is deep in the state and in time but shallow in x, so that its divergence costs nothing:

    .. math:: v(x, t, s) = W_2(s) \\, [g \\tanh(k \\, W_1(s) x + b)] + M x + m

    where one linear map of the features gives W_1 (hidden x dim), W_2 (dim x hidden) and, for each of ``n_basis``
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

    basis: torch.Tensor

    def __init__(
        self, features_dim: int, dim: int, *, affine: bool = False, units: int | None = None, n_basis: int = 4
    ) -> None:
        super().__init__(features_dim, dim)
        self.units = integer("units", self.default_kwargs(dim)["units"] if units is None else units, 1, MAX_UNITS)
        self.n_basis, self.affine = integer("n_basis", n_basis, 1, MAX_BASIS), affine
        hidden = self.units
        self.sizes = [hidden * dim, hidden * dim, n_basis * self.n_coefficients]
        self.head = nn.Linear(features_dim, sum(self.sizes))
        self._reset_parameters()
        self.prepare(())

    @classmethod
    def default_kwargs(cls, dim: int) -> dict[str, Any]:
        return {"units": 48 if dim == 2 else 16}

    @property
    def coefficient_sizes(self) -> list[int]:
        """Numbers of coefficients of each polynomial: of g, k, b, m and M."""
        return [self.units, self.units, self.units, self.dim, self.dim**2 if self.affine else 0]

    @property
    def n_coefficients(self) -> int:
        """Number of coefficients of each polynomial."""
        return sum(self.coefficient_sizes)

    @torch.no_grad()
    def _reset_parameters(self) -> None:
        """Random units in x that are alike in every state (in the bias), and a zero gain: v = 0."""
        w_in, w_out, coefficients = torch.split(self.head.bias, self.sizes)
        nn.init.normal_(w_in, std=self.dim**-0.5)
        nn.init.normal_(w_out, std=self.units**-0.5)
        nn.init.zeros_(coefficients)
        hidden = self.units
        constant = coefficients.view(self.n_basis, -1)[0]
        nn.init.ones_(constant[hidden : 2 * hidden])
        nn.init.uniform_(constant[2 * hidden : 3 * hidden], -1.5, 1.5)
        of_features = torch.split(self.head.weight, self.sizes)[2].view(self.n_basis, self.n_coefficients, -1)
        nn.init.zeros_(of_features[:, :hidden])
        nn.init.zeros_(of_features[:, 3 * hidden :])

    def prepare(self, times: tuple[float, ...]) -> None:
        self.times = times
        basis = chebyshev(torch.tensor(times, dtype=torch.float64), self.n_basis).to(self.head.weight)
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, features: torch.Tensor) -> "StructuredVelocity":
        w_in, w_out, coefficients = torch.split(self.head(features), self.sizes, dim=-1)
        return StructuredVelocity(
            w_in.reshape(-1, self.dim, self.units),
            w_out.reshape(-1, self.dim, self.units),
            coefficients.reshape(-1, self.n_basis, self.n_coefficients),
            self.times,
            self.basis,
        )


class _AtTime(NamedTuple):
    """Coefficients at given times: g, k, g k, b (batch, n or 1, hidden), m (..., dim), M (..., dim, dim) or None."""

    gain: torch.Tensor
    frequency: torch.Tensor
    steepness: torch.Tensor
    phase: torch.Tensor
    drift: torch.Tensor
    matrix: torch.Tensor | None


class StructuredVelocity:
    """
    The field of ``StructuredField`` for a batch of states.

    :param w_in: W_1 transposed, (batch, dim, hidden)
    :param w_out: W_2, (batch, dim, hidden)
    :param coefficients: of the Chebyshev polynomials of [g, k, b, m, M], (batch, n_basis, 3 hidden + dim (+ dim^2))
    :param times: times whose coefficients are computed together, when one of them is asked for
    :param basis: the Chebyshev polynomials at these times, (len(times), n_basis)
    """

    def __init__(
        self,
        w_in: torch.Tensor,
        w_out: torch.Tensor,
        coefficients: torch.Tensor,
        times: tuple[float, ...] = (),
        basis: torch.Tensor | None = None,
    ) -> None:
        self.w_in, self.w_out, self.coefficients = w_in, w_out, coefficients
        self.times, self.basis = times, basis
        self._at_float: dict[tuple[float, bool], _AtTime] = {}
        self._outer_product: dict[bool, torch.Tensor] = {}

    def __call__(self, x: torch.Tensor, t: Time) -> torch.Tensor:
        at = self._at(t)
        return self._velocity(x, at, self._activation(x, at))

    def divergence(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        velocity, slope, matrix = self._linearise(x, t)
        # What each unit adds to the trace, (batch, hidden, 1)
        diagonal = (self.w_in * self.w_out).sum(1).unsqueeze(-1)
        divergence = (slope @ diagonal).squeeze(-1)
        if matrix is not None:
            divergence = divergence + matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
        return velocity, divergence

    def linearise(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor]:
        """The local form is g k sech^2, (batch, n, hidden), followed by the entries of M if there is one."""
        velocity, slope, matrix = self._linearise(x, t)
        if matrix is not None:
            slope = torch.cat([slope, matrix.flatten(2).expand(-1, x.shape[1], -1)], dim=-1)
        return velocity, slope

    def jacobian(self, local: torch.Tensor) -> torch.Tensor:
        batch, dim, hidden = self.w_in.shape
        slope, matrix = local[..., :hidden], local[..., hidden:]
        if 2 * local.shape[1] < dim:  # too few points to pay for the outer products
            scaled = slope.unsqueeze(2) * self.w_out.unsqueeze(1)
            jacobian = scaled.flatten(1, 2) @ self.w_in.transpose(1, 2)
        else:
            jacobian = slope @ self._outer()
        jacobian = jacobian.view(batch, -1, dim, dim)
        return jacobian + matrix.reshape(batch, -1, dim, dim) if matrix.shape[-1] else jacobian

    # The solvers come back to the same times, and every step needs the same outer products: both are kept, apart for
    # calls with and without gradients

    def _outer(self) -> torch.Tensor:
        """What each unit adds to the Jacobian, (batch, hidden, dim * dim)."""
        key = torch.is_grad_enabled()
        if key not in self._outer_product:
            outer = self.w_out.unsqueeze(2) * self.w_in.unsqueeze(1)
            self._outer_product[key] = outer.flatten(1, 2).transpose(1, 2)
        return self._outer_product[key]

    def _at(self, t: Time) -> _AtTime:
        if isinstance(t, torch.Tensor):
            return self._combine(chebyshev(t, self.coefficients.shape[1]))
        gradient = torch.is_grad_enabled()
        if (t, gradient) not in self._at_float:
            times, basis = self.times, self.basis
            if basis is None or t not in times:
                times, basis = (t,), chebyshev(self.coefficients.new_tensor([t]), self.coefficients.shape[1])
            *vectors, matrix = self._combine(basis)
            matrices = (None,) * len(times) if matrix is None else matrix.unsqueeze(2).unbind(1)
            for time, *at in zip(times, *(vector.unsqueeze(2).unbind(1) for vector in vectors), matrices, strict=True):
                self._at_float[time, gradient] = _AtTime(*at)
        return self._at_float[t, gradient]

    def _combine(self, basis: torch.Tensor) -> _AtTime:
        dim, hidden = self.w_in.shape[1:]
        combined = basis @ self.coefficients
        sizes = [hidden, hidden, hidden, dim, combined.shape[-1] - 3 * hidden - dim]
        gain, frequency, phase, drift, matrix = torch.split(combined, sizes, dim=-1)
        matrices = matrix.reshape(*drift.shape, dim) if matrix.shape[-1] else None
        return _AtTime(gain, frequency, gain * frequency, phase, drift, matrices)

    # Torch's batched products take about a microsecond for each state, however small: for single points sums are
    # quicker

    def _to_units(self, x: torch.Tensor) -> torch.Tensor:
        """W_1 x, (batch, n, dim) to (batch, n, hidden)."""
        return (x.transpose(1, 2) * self.w_in).sum(1, keepdim=True) if x.shape[1] == 1 else x @ self.w_in

    def _from_units(self, units: torch.Tensor) -> torch.Tensor:
        """W_2 times what units give, (batch, n, hidden) to (batch, n, dim)."""
        if units.shape[1] == 1:
            return (units * self.w_out).sum(-1).unsqueeze(1)
        return units @ self.w_out.transpose(1, 2)

    def _activation(self, x: torch.Tensor, at: _AtTime) -> torch.Tensor:
        return torch.addcmul(at.phase, at.frequency, self._to_units(x)).tanh_()

    def _velocity(self, x: torch.Tensor, at: _AtTime, activation: torch.Tensor) -> torch.Tensor:
        velocity = self._from_units(at.gain * activation) + at.drift
        return velocity if at.matrix is None else velocity + (at.matrix @ x.unsqueeze(-1)).squeeze(-1)

    def _linearise(self, x: torch.Tensor, t: Time) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Velocity, g k sech^2 (batch, n, hidden) and M."""
        at = self._at(t)
        activation = self._activation(x, at)
        slope = torch.addcmul(at.steepness, at.steepness * activation, activation, value=-1.0)
        return self._velocity(x, at, activation), slope, at.matrix
