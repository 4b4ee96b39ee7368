"""Base distributions p_0 of the flow, and the coordinates in which the flow runs."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

LOG_SCALE_MIN, LOG_SCALE_MAX = -7.0, 2.0
LOC_MAX = 4.0  # tanh has a slope of 0.001 there
ROW_MAX = 2.0  # of the entries of L beside its diagonal, relative to it


class Gaussian:
    """
    N(loc, L L') for a batch of states, and the whitening y = L^-1 (u - loc) that it defines.

    :param loc: means (batch, dim)
    :param scale_tril: lower triangular L with a positive diagonal, (batch, dim, dim)
    """

    def __init__(self, loc: torch.Tensor, scale_tril: torch.Tensor) -> None:
        self.loc, self.scale_tril = loc, scale_tril

    @property
    def log_scale(self) -> torch.Tensor:
        """log det L, (batch, 1)."""
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)

    def unwhiten(self, y: torch.Tensor) -> torch.Tensor:
        """u = loc + L y, (batch, n, dim) to (batch, n, dim)."""
        return torch.baddbmm(self.loc.unsqueeze(1), y, self.scale_tril.transpose(1, 2))

    def whiten(self, u: torch.Tensor) -> torch.Tensor:
        """y = L^-1 (u - loc), (batch, n, dim) to (batch, n, dim)."""
        centred = (u - self.loc.unsqueeze(1)).transpose(1, 2)
        whitened: torch.Tensor = torch.linalg.solve_triangular(self.scale_tril, centred, upper=False)
        return whitened.transpose(1, 2)

    def log_prob(self, u: torch.Tensor) -> torch.Tensor:
        """log N(u; loc, L L'), (batch, n, dim) to (batch, n)."""
        return standard_normal_log_prob(self.whiten(u)) - self.log_scale

    def detach(self) -> "Gaussian":
        """The same distribution without gradients."""
        return Gaussian(self.loc.detach(), self.scale_tril.detach())


class PreciseGaussian(Gaussian):
    """
    A Gaussian whose log-density and its gradients are of double precision, and all else of single.

    Far from the samples their second moment is many orders of magnitude above their covariance. A natural gradient is
    the difference of two such moments, and in single precision nothing would be left of it.

    :param loc: means (batch, dim), in double precision
    :param scale_tril: L, (batch, dim, dim), in double precision
    :param dtype: precision of all else
    """

    def __init__(self, loc: torch.Tensor, scale_tril: torch.Tensor, dtype: torch.dtype) -> None:
        super().__init__(loc.to(dtype), scale_tril.to(dtype))
        self.precise = Gaussian(loc, scale_tril)

    def log_prob(self, u: torch.Tensor) -> torch.Tensor:
        return self.precise.log_prob(u.double())


def standard_normal_log_prob(y: torch.Tensor) -> torch.Tensor:
    """log N(y; 0, I), (..., dim) to (...)."""
    return -0.5 * y.square().sum(-1) - 0.5 * y.shape[-1] * math.log(2.0 * math.pi)


class StandardBase(nn.Module):
    """
    The paper's base distribution N(0, I), the same in every state.

    :param dim: dimension
    """

    learnable = False
    reach = math.inf  # see ``isfm.loss.within_reach``

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, features: torch.Tensor) -> Gaussian:
        loc = features.new_zeros(features.shape[0], self.dim)
        eye = torch.eye(self.dim, dtype=features.dtype, device=features.device)
        return Gaussian(loc, eye.expand(features.shape[0], -1, -1))


def soft_clamp(x: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """
    x up to a distance of 1 from the bounds, and beyond by a softsign that approaches them.

    A clamp stops gradients beyond its bounds, so a number that is carried there has no way back. Here the slope fades
    slowly.

    :param x: any shape
    :param low: lower bound
    :param high: upper bound
    :return: the same shape, within the bounds
    """
    inner = x.clamp(low + 1.0, high - 1.0)
    return inner + F.softsign(x - inner)


class GaussianBase(nn.Module):
    """
    A base distribution N(m(s), L(s) L(s)') with a full covariance, linear in the features of the state.

    It starts at ``log_std_init`` without correlation, and with a random m about half as wide: a feedback law leads to
    more states than noise around 0 does. All its numbers are bounded (``soft_clamp``): m by 4, the logarithm of L's
    diagonal by -7 and 2, and L's other entries by twice the diagonal one of their row.

    :param features_dim: size of the state's features
    :param dim: dimension
    :param log_std_init: logarithm of the standard deviation at the start, of latents (scaled actions if unsquashed)
    """

    learnable = True
    reach = 4.0  # root mean square of a target's components, in standard deviations

    def __init__(self, features_dim: int, dim: int, log_std_init: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.head = nn.Linear(features_dim, 2 * dim + dim * (dim - 1) // 2)
        with torch.no_grad():
            self.head.weight[:dim] *= math.exp(log_std_init)
            self.head.weight[dim:] = 0.0
            self.head.bias.zero_()[dim : 2 * dim] = log_std_init
        rows, columns = torch.tril_indices(dim, dim, offset=-1)
        self.lower = nn.Buffer(rows * dim + columns, persistent=False)
        self._eye = nn.Buffer(torch.eye(dim).view(1, -1), persistent=False)

    def forward(self, features: torch.Tensor) -> Gaussian:
        dim = self.dim
        loc, log_std, lower = self.head(features).split([dim, dim, dim * (dim - 1) // 2], dim=-1)
        loc, std = soft_clamp(loc, -LOC_MAX, LOC_MAX), soft_clamp(log_std, LOG_SCALE_MIN, LOG_SCALE_MAX).exp()
        # Rows of L relative to its diagonal, so that correlations keep their meaning when the scale changes
        lower = soft_clamp(lower, -ROW_MAX, ROW_MAX)
        relative = self._eye.expand(std.shape[0], -1).index_copy(1, self.lower, lower)
        return Gaussian(loc, std.unsqueeze(-1) * relative.view(-1, dim, dim))


class LinearBase(nn.Module):
    r"""
    A base distribution N(W f, C): the mean linear in the features f, without a constant, and one covariance for all
    states. What a max-entropy LQR's optimum is, with f the state.

    It learns by the natural gradient. Backward passes multiply the gradients of W and C by the inverse of the Fisher
    information, with the features' second moment taken from the batch. Under a mean log-likelihood of weighted samples,
    a step of SGD with learning rate r then moves W by the share r of its way to the weighted least-squares fit, and C
    by the same share to the weighted covariance of the residuals of that fit. Neither depends on the units of features
    or samples, and for r <= 1 the covariance stays positive definite. Use it with ``torch.optim.SGD``.

    :param features_dim: size of the state's features
    :param dim: dimension
    :param log_std_init: logarithm of the standard deviation at the start, the same for all components
    """

    learnable = True
    reach = math.inf
    RIDGE = 1e-9  # of the features' second moment, relative: a batch may not span all directions

    def __init__(self, features_dim: int, dim: int, log_std_init: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.gain = nn.Parameter(torch.zeros(dim, features_dim))
        self.covariance = nn.Parameter(math.exp(2.0 * log_std_init) * torch.eye(dim))

    def forward(self, features: torch.Tensor) -> Gaussian:
        learns = torch.is_grad_enabled() and self.gain.requires_grad
        gain, covariance = self._natural(features) if learns else (self.gain.double(), self.covariance.double())
        # Components may differ by many orders of magnitude, more than single precision factorises
        scale_tril = torch.linalg.cholesky(covariance).expand(len(features), -1, -1)
        return PreciseGaussian(features.double() @ gain.T, scale_tril, features.dtype)

    def _natural(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The parameters in double precision, through which natural gradients flow."""
        f = features.detach().double()
        size = f.square().mean(0).sqrt().clamp(min=torch.finfo(features.dtype).tiny)
        moment = (f / size).T @ (f / size) / len(f)
        moment.diagonal().add_(self.RIDGE)
        natural: tuple[torch.Tensor, torch.Tensor] = _NaturalGradient.apply(  # type: ignore[no-untyped-call]
            self.gain, self.covariance, torch.linalg.inv(moment) / torch.outer(size, size)
        )
        return natural


class _NaturalGradient(torch.autograd.Function):
    """The identity of W and C; its backward pass makes natural gradients of those of a mean log-likelihood."""

    @staticmethod
    def forward(
        ctx: Any, gain: torch.Tensor, covariance: torch.Tensor, inverse_moment: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.save_for_backward(covariance, inverse_moment)
        return gain.double(), covariance.double()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        covariance, inverse_moment = ctx.saved_tensors
        sigma, (of_gain, of_covariance) = covariance.double(), gradients
        factor = torch.linalg.cholesky(sigma)
        whitened_step = factor.T @ of_gain @ inverse_moment
        # Residuals of the current mean vary by W's own step, too, which residuals of the fit do not
        shift = whitened_step @ of_gain.T @ factor
        whitened = factor.T @ (of_covariance + of_covariance.T) @ factor + 0.5 * (shift + shift.T)
        # A whole step leads to the fit's covariance, which rounding must not make negative
        steps, axes = torch.linalg.eigh(whitened)
        root = factor @ axes
        covariance_step = (root * steps.clamp(max=1.0)) @ root.T
        return (factor @ whitened_step).to(covariance.dtype), covariance_step.to(covariance.dtype), None
