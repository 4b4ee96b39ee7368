"""A Gaussian sampling distribution that looks where Q's gradient says the target is."""

from dataclasses import dataclass

import torch

from sb3_flowsac.flow import standard_normal_log_prob
from sb3_flowsac.isfm.improvement import Improvement
from sb3_flowsac.isfm.sampling import Proposal, SamplingDistribution

MAX_MOVE = 4.0  # standard deviations of the policy along each axis
MAX_WIDENING = 1.5  # standard deviation over the policy's
CURVATURE_FACTORS = (0.1, 10.0)  # of one state over the batch's
MIN_SPREAD = 1e-3  # of the policy, in scaled actions: one that has run into the bound can leave it
FURTHEST = 0.995  # scaled action: a mean on the bound of a squashed action would be infinite
RIDGE = 1e-6


class NewtonGaussian(SamplingDistribution):
    r"""
    The Gaussian to which one Newton step on Q / alpha takes the policy.

    The gradient :math:`g = \nabla_a Q / \alpha` is taken at one or more antithetic pairs of actions. Differences within
    the pairs give the curvature, :math:`H = \arg\min \sum \| \Delta g + H \Delta a \|^2`: one matrix for all states of
    the batch, which the few gradients of one state could not determine, and for each state a factor :math:`\kappa(s)`.
    With the means over the pairs, :math:`\bar a` and :math:`\bar g`, the proposals come from

    .. math:: N(\bar a + (\kappa H)^{-1} \bar g, (\kappa H)^{-1})

    in antithetic pairs. Where exp(Q / alpha) is a Gaussian of the same covariance in every state, this is the target
    itself, however far the policy is from it. Along axes in which the curvature is small or negative the standard
    deviation stays within ``MAX_WIDENING`` times the policy's; the mean moves by at most ``max_move`` of the policy's
    and stays in the box. Where Q is no parabola a step by its curvature leads astray: move, curvature and widening are
    multiplied by a trust, 2 R^2 - 1 or 0, with R^2 the share of the gradients' changes that the curvatures explain in
    the batch; at 0 what is left is a Gaussian about the policy's mean, as wide as the policy. Squashed actions are
    carried to latents by their slope at the mean; near the bound, where that would throw draws to the opposite one, no
    component of the latents gets a deviation above ``MAX_WIDENING`` times the policy's.

    Alone it does not cover every target: use it as a component of a ``Mixture``.

    :param n_anchors: number of the policy's actions at which the gradient is taken in each state, even: two are one
        pair
    :param max_move: furthest move of the mean along each axis, in standard deviations of the policy; infinite where Q
        is a quadratic form and the step always leads to the target
    :raises ValueError: if ``n_anchors`` is not a positive even number or ``max_move`` is not positive
    """

    def __init__(self, n_anchors: int = 2, max_move: float = MAX_MOVE) -> None:
        if isinstance(n_anchors, bool) or not isinstance(n_anchors, int) or n_anchors < 2 or n_anchors % 2:
            raise ValueError(f"n_anchors={n_anchors!r} must be a positive even number")
        if not (isinstance(max_move, int | float) and max_move > 0):
            raise ValueError(f"max_move={max_move!r} must be positive")
        self.n_anchors, self.max_move = n_anchors, max_move

    def given(self, improvement: Improvement, n: int) -> Proposal:
        policy, base, transform = improvement.policy, improvement.policy.base, improvement.transform
        actions = transform(policy.push(policy.noise(self.n_anchors, antithetic=True)))
        gradient = improvement.action_score(actions)
        curvatures, axes, explained = _curvature(_differences(actions), _differences(gradient))
        trust = (2.0 * explained - 1.0).clamp(min=0.0)
        scale_tril = transform.derivative(base.loc).unsqueeze(-1) * base.scale_tril  # of actions
        spread = (axes.T @ scale_tril).norm(dim=-1).clamp(min=MIN_SPREAD)  # of the policy along the axes, (batch, dim)
        widening = 1.0 + trust * (MAX_WIDENING - 1.0)
        precision = torch.maximum(trust * curvatures, 1.0 / (widening * spread).square())
        furthest = self.max_move * spread
        move = (trust * gradient.mean(1) @ axes / precision).nan_to_num(nan=0.0).clamp(-furthest, furthest)
        loc = transform.inverse((actions.mean(1) + move @ axes.T).clamp(-FURTHEST, FURTHEST))
        width = precision.rsqrt().clamp(min=torch.finfo(precision.dtype).eps)  # what actions can tell apart
        deviation = (width.square() @ axes.square().T).sqrt()  # of each component of the action
        # Steeper than the transform where a component of the latents would be wider than this
        widest = MAX_WIDENING * base.scale_tril.norm(dim=-1)
        slope = torch.maximum(transform.derivative(loc), deviation / widest)
        noise = policy.noise(n, antithetic=True)
        return _NewtonProposal(loc.unsqueeze(1), slope.unsqueeze(1), axes, width.unsqueeze(1), noise)


def _differences(values: torch.Tensor) -> torch.Tensor:
    """Differences within the antithetic pairs, (batch, n, dim) to (batch, n / 2, dim)."""
    first, mirrored = values.chunk(2, dim=1)
    return first - mirrored


def _curvature(steps: torch.Tensor, changes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Curvature along axes that are common to all states.

    :param steps: differences of actions, (batch, pairs, dim)
    :param changes: differences of the gradient, (batch, pairs, dim)
    :return: curvatures of each state (batch, dim), the axes, columns of an orthogonal matrix (dim, dim), and the share
        of the sum of squares of ``changes`` that they explain
    """
    a, g = steps.flatten(0, 1), -changes.flatten(0, 1)
    gram = a.T @ a
    gram.diagonal().add_(RIDGE * gram.diagonal().mean().clamp(min=torch.finfo(gram.dtype).tiny))
    matrix = torch.linalg.solve_ex(gram, a.T @ g)[0]
    common, axes = torch.linalg.eigh(0.5 * (matrix + matrix.T).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
    along = steps @ axes
    predicted = along.square() @ common  # a'Ha
    factor = -(steps * changes).sum((1, 2)) / predicted.sum(1)
    curvatures = factor.nan_to_num(nan=1.0).clamp(*CURVATURE_FACTORS).unsqueeze(-1) * common
    error = changes @ axes + along * curvatures.unsqueeze(1)
    explained = 1.0 - error.square().sum() / changes.square().sum()
    return curvatures, axes, explained.nan_to_num(nan=1.0, neginf=0.0)  # a constant gradient is explained, too


@dataclass(frozen=True)
class _NewtonProposal(Proposal):
    """
    Latents u = loc + V diag(width) noise / slope, with V the axes (dim, dim), noise (batch, n, dim) and the others
    (batch, 1, dim).
    """

    loc: torch.Tensor
    slope: torch.Tensor
    axes: torch.Tensor
    width: torch.Tensor
    noise: torch.Tensor

    def sample_with_log_prob(self) -> tuple[torch.Tensor, torch.Tensor]:
        latents = self.loc + (self.noise * self.width) @ self.axes.T / self.slope
        return latents, self.log_prob(latents)

    def log_prob(self, latents: torch.Tensor) -> torch.Tensor:
        standardized = ((latents - self.loc) * self.slope) @ self.axes / self.width
        return standard_normal_log_prob(standardized) + (self.slope.log() - self.width.log()).sum(-1)
