"""One cell of the study: flows fitted to N weighted samples of one sampling distribution, one flow for each seed."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import multivariate_normal

from experiments.runner.tasks import Result
from experiments.theory.theorem2.distances import Normal, empirical_w2_squared, flow_w2_bounds, normal_quadrature
from maxent_envs.validation import FloatArray
from sb3_flowsac.flow import ConditionalFlow, FlowDistribution, make_flow
from sb3_flowsac.isfm import effective_sample_size, flow_matching_loss, isfm_loss, self_normalize

TARGET_MEAN = (0.6, -0.4)
TARGET_COV = ((0.5, 0.2), (0.2, 0.45))
DIM = len(TARGET_MEAN)


@dataclass(frozen=True)
class FitSettings:
    """
    How each flow is fitted and judged.

    :param steps: steps of Adam, at a learning rate that falls to zero on a cosine
    :param pairs: triples (t, a_0, a_1) in each step, t and a_0 always fresh
    :param learning_rate: the first learning rate
    :param hidden: tanh units of the field, which has an affine part besides
    :param n_basis: Chebyshev polynomials in t
    :param ode_steps: steps of the classical Runge-Kutta method, from noise to sample
    :param points: size of the samples whose empirical distance is taken
    """

    steps: int = 3000
    pairs: int = 768
    learning_rate: float = 5e-3
    hidden: int = 16
    n_basis: int = 8
    ode_steps: int = 20
    points: int = 1000


@dataclass(frozen=True)
class Cell:
    """
    One setting of the experiment, repeated over seeds.

    :param n_samples: N, drawn once from the sampling distribution; ``None`` for exact samples of the target, fresh ones
        in every step, which is N without end and all weights equal
    :param shift: distance of the sampling distribution's mean from the target's
    :param seeds: seeds, a flow for each
    :param fit: how the flows are fitted
    """

    n_samples: int | None
    shift: float
    seeds: tuple[int, ...]
    fit: FitSettings

    @property
    def sampling(self) -> Normal:
        """h = N(m - shift m / |m|, I) with m the target's mean; at shift |m| the flow's own base distribution."""
        mean = np.array(TARGET_MEAN)
        return multivariate_normal(mean * (1.0 - self.shift / np.linalg.norm(mean)), np.eye(DIM))

    def rng(self, seed: int) -> np.random.Generator:
        """Source of the N samples, another one for each seed of each cell."""
        return np.random.default_rng([seed, self.n_samples or 0, round(1000 * self.shift)])


def target() -> Normal:
    """pi_new, the distribution to learn."""
    return multivariate_normal(TARGET_MEAN, TARGET_COV)


def fit_cell(cell: Cell) -> Result:
    """
    Fit the flows of one cell and measure how far each is from the target.

    :param cell: the cell
    :return: lists over the seeds: bounds ``lower`` and ``upper`` of the squared W2 distance, ``empirical`` the distance
        of samples, ``empirical_zero`` the same between two samples of the target, ``ess`` the effective sample size
    """
    flow = _new_flow(cell)
    ess = _train(flow, cell)
    return {"ess": ess, **_distances(flow.double(), cell)}


def _new_flow(cell: Cell) -> ConditionalFlow:
    """
    Flows for all seeds in one module: the features are one-hot and the common bias is not trained, so that each seed
    has its own column of parameters and no fit knows of another.
    """
    fit, count = cell.fit, len(cell.seeds)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seeds[0])
        flow = make_flow(
            count,
            DIM,
            base="standard",
            field_kwargs={"units": fit.hidden, "n_basis": fit.n_basis},
            ode_steps=fit.ode_steps,
            ode_solver="rk4",
        )
    flow.field.head.bias.requires_grad_(False)
    return flow


def _distribution(flow: ConditionalFlow, cell: Cell) -> FlowDistribution:
    distribution: FlowDistribution = flow(torch.eye(len(cell.seeds), dtype=next(flow.parameters()).dtype))
    return distribution


def weighted_samples(cell: Cell) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The samples of each seed and their weights.

    The densities, Z included, are known here. Dividing the weights pi_new / h by their sum in place of N multiplies the
    loss of a seed by a constant, so it has the same minimiser as with the theorem's weights.

    :param cell: the cell, of finite N
    :return: samples (seeds, N, dim) and weights (seeds, N) that sum to one
    """
    samples = np.stack([cell.sampling.rvs(cell.n_samples, random_state=cell.rng(seed)) for seed in cell.seeds])
    log_weights = target().logpdf(samples) - cell.sampling.logpdf(samples)
    return torch.tensor(samples).float(), self_normalize(torch.tensor(log_weights)).float()


def _train(flow: ConditionalFlow, cell: Cell) -> list[float]:
    """Minimise the ISFM loss; returns the effective sample sizes."""
    fit, count = cell.fit, len(cell.seeds)
    generator = torch.Generator().manual_seed(cell.seeds[0])
    equal = torch.full((count, fit.pairs), 1.0 / fit.pairs)
    optimizer = torch.optim.Adam([p for p in flow.parameters() if p.requires_grad], fit.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, fit.steps)
    root = torch.linalg.cholesky(torch.tensor(TARGET_COV))
    samples, weights = weighted_samples(cell) if cell.n_samples is not None else (equal, equal)
    for _ in range(fit.steps):
        policy = _distribution(flow, cell)
        if cell.n_samples is None:
            noise = torch.randn(count, fit.pairs, DIM, generator=generator)
            loss = flow_matching_loss(policy, torch.tensor(TARGET_MEAN) + noise @ root.T, equal, generator)
        else:
            loss = isfm_loss(policy, samples, weights, fit.pairs, generator).flow
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return [float(size) for size in effective_sample_size(weights)]


@torch.no_grad()
def _distances(flow: ConditionalFlow, cell: Cell) -> dict[str, list[float]]:
    """The distances of every seed's flow from the target."""
    aim, points = target(), cell.fit.points
    noise, weights = normal_quadrature(DIM)
    policy = _distribution(flow, cell)
    learnt = policy.push(torch.tensor(noise).expand(len(cell.seeds), -1, -1)).numpy()
    bounds = [flow_w2_bounds(nodes, noise, weights, aim) for nodes in learnt]
    samples = policy.sample(points, torch.Generator().manual_seed(cell.seeds[0])).numpy()
    draws: list[FloatArray] = [aim.rvs((2, points), random_state=np.random.default_rng(seed)) for seed in cell.seeds]
    return {
        "lower": [lower for lower, _ in bounds],
        "upper": [upper for _, upper in bounds],
        "empirical": [empirical_w2_squared(own, exact[0]) for own, exact in zip(samples, draws, strict=True)],
        "empirical_zero": [empirical_w2_squared(*exact) for exact in draws],
    }
