"""The conditional flow: a base distribution, a velocity field and a solver make a distribution with samples and
density."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from sb3_flowsac.flow.base import Gaussian, GaussianBase, LinearBase, StandardBase, standard_normal_log_prob
from sb3_flowsac.flow.ode import Solver, Transport, follow, integrate, invert, stage_times
from sb3_flowsac.flow.paths import CondOTPath, NormalizedPath
from sb3_flowsac.flow.velocity import Velocity, VelocityField

Density = Literal["exact", "trace"]
MOST_FEW = 128  # points: for more, numpy gains little


class ConditionalFlow(nn.Module):
    """
    The distribution of u = loc + L y_1, where y follows dy/dt = v from y_0 ~ N(0, I), given features of a state.

    With the ``StandardBase`` this is the paper's flow: loc = 0, L = I and the straight path. With a ``GaussianBase``
    the flow runs in whitened coordinates of constant spread, so that a zero field is a Gaussian with full covariance.

    ``make_flow`` makes one from options.

    :param base: the base distribution
    :param field: the velocity field
    :param solver: the Runge-Kutta method
    :param grid: the times between which it steps, from 0 to 1
    :param density: "exact" or "trace", see ``make_flow``
    """

    options: dict[str, Any]

    def __init__(
        self,
        base: StandardBase | GaussianBase | LinearBase,
        field: VelocityField,
        solver: Solver,
        grid: Sequence[float],
        density: Density,
    ) -> None:
        super().__init__()
        self.base, self.field = base, field
        self.path = NormalizedPath() if base.learnable else CondOTPath()
        self.solver, self.grid = solver, tuple(grid)
        self.density: Density = density
        field.prepare(stage_times(self.grid, self.solver))

    def forward(self, features: torch.Tensor) -> "FlowDistribution":
        """
        The distributions of a batch of states; one pass through the networks serves all that is asked of them.

        :param features: (batch, features_dim)
        """
        return FlowDistribution(self, self.base(features), self.field(features))

    def push(self, features: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """
        ``self(features).push(noise)``, up to rounding. A few points without gradients are quicker in numpy, which
        ``torch.export`` cannot trace, if the velocity has a method ``in_numpy``: it gives the velocity v(x, t) as a
        function of arrays (batch, n, dim), or (n, dim) of one state, at the solver's times.

        :param features: (batch, features_dim)
        :param noise: y_0, (batch, n, dim)
        :return: latents u, (batch, n, dim)
        """
        base, velocity = self.base(features), self.field(features)
        in_numpy = getattr(velocity, "in_numpy", None)
        few = noise.shape[0] * noise.shape[1] <= MOST_FEW and noise.dtype in (torch.float32, torch.float64)
        if in_numpy is None or not few or noise.device.type != "cpu" or torch.is_grad_enabled():
            return FlowDistribution(self, base, velocity).push(noise)
        points = noise.numpy()
        end = follow(in_numpy(), points[0] if len(points) == 1 else points, self.grid, self.solver)
        latents: torch.Tensor = base.unwhiten(torch.from_numpy(end).view(noise.shape))
        return latents


class FlowDistribution:
    """
    The distribution of a ``ConditionalFlow`` in a batch of states.

    ``irregular_fraction`` is the share of the points of the latest exact density at which the map of the discrete steps
    folds space over (negative determinant) or could not be inverted. It is a lower bound of the share of wrong
    densities: in a fold a latent has several noises that lead to it, and an inversion finds one of them. More steps
    help.

    :param flow: supplies path, solver, time grid and density
    :param base: base distribution in each state
    :param velocity: velocity field in each state
    """

    def __init__(self, flow: ConditionalFlow, base: Gaussian, velocity: Velocity) -> None:
        self.flow, self.base, self.velocity = flow, base, velocity
        self.irregular_fraction = torch.zeros((), device=base.loc.device)

    def _note_irregular(self, transport: Transport) -> None:
        if transport.irregular is not None:
            self.irregular_fraction = transport.irregular.float().mean()

    @property
    def batch_size(self) -> int:
        return self.base.loc.shape[0]

    @property
    def dim(self) -> int:
        return self.base.loc.shape[1]

    def noise(self, n: int, generator: torch.Generator | None = None, antithetic: bool = False) -> torch.Tensor:
        """
        Base samples y_0 ~ N(0, I).

        :param n: number of samples for each state
        :param generator: source of the noise; default torch's global one
        :param antithetic: draw half of them, rounded up, and mirror those at 0: each is still a draw from N(0, I), and
            averages over them lose the error that is odd in the noise
        :return: (batch, n, dim)
        """
        loc, drawn = self.base.loc, (n + 1) // 2 if antithetic else n
        # Unlike torch.randn, normal_ can be compiled with a generator of None
        noise = loc.new_empty(loc.shape[0], drawn, loc.shape[1]).normal_(generator=generator)
        return torch.cat([noise, -noise[:, : n - drawn]], dim=1) if antithetic else noise

    def sample_whitened(self) -> tuple[torch.Tensor, torch.Tensor]:
        """
        A whitened sample y_1 of each state, (batch, 1, dim), and its log-density by the trace integral, (batch, 1).
        """
        noise = self.noise(1)
        end = integrate(self.velocity, noise, self.flow.grid, self.flow.solver, "trace")
        assert end.log_volume is not None
        return end.x, standard_normal_log_prob(noise) - end.log_volume

    def push(self, noise: torch.Tensor) -> torch.Tensor:
        """
        Where the flow takes base samples.

        :param noise: y_0, (batch, n, dim)
        :return: latents u, (batch, n, dim)
        """
        return self.base.unwhiten(integrate(self.velocity, noise, self.flow.grid, self.flow.solver).x)

    def sample(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """n samples for each state, (batch, n, dim)."""
        return self.push(self.noise(n, generator))

    def sample_with_log_prob(
        self,
        n: int,
        generator: torch.Generator | None = None,
        density: Density | None = None,
        antithetic: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        n samples for each state and the logarithm of their density, in one forward integration.

        :param n: number of samples
        :param generator: source of the noise; default torch's global one
        :param density: "exact" or "trace"; default the flow's own
        :param antithetic: see ``noise``
        :return: latents (batch, n, dim) and log-densities (batch, n)
        """
        return self.push_with_log_prob(self.noise(n, generator, antithetic), density)

    def push_with_log_prob(
        self, noise: torch.Tensor, density: Density | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Where the flow takes base samples, and the logarithm of the density there.

        :param noise: y_0, (batch, n, dim)
        :param density: "exact" or "trace"; default the flow's own
        :return: latents (batch, n, dim) and log-densities (batch, n)
        """
        end = integrate(self.velocity, noise, self.flow.grid, self.flow.solver, density or self.flow.density)
        self._note_irregular(end)
        assert end.log_volume is not None
        return self.base.unwhiten(end.x), standard_normal_log_prob(noise) - end.log_volume - self.base.log_scale

    def log_prob(self, u: torch.Tensor, density: Density | None = None) -> torch.Tensor:
        """
        Log-density of given latents.

        "exact" inverts the discrete steps by Newton's method; "trace" integrates the ODE backwards from u.

        :param u: latents (batch, n, dim)
        :param density: "exact" or "trace"; default the flow's own
        :return: (batch, n)
        """
        y1, exact = self.base.whiten(u), (density or self.flow.density) == "exact"
        if exact:
            start = invert(self.velocity, y1, self.flow.grid, self.flow.solver)
        else:
            start = integrate(self.velocity, y1, self.flow.grid[::-1], self.flow.solver, "trace")
        self._note_irregular(start)
        assert start.log_volume is not None
        log_volume = start.log_volume if exact else -start.log_volume  # of the way from the base to u
        return standard_normal_log_prob(start.x) - log_volume - self.base.log_scale

    def log_prob_bias(self) -> torch.Tensor:
        """Mean of the trace integral (equation 6) minus the exact log-density of what the discrete steps draw, ()."""
        noise = self.noise(1)
        return (self.push_with_log_prob(noise, "trace")[1] - self.push_with_log_prob(noise, "exact")[1]).mean()
