"""Distances between a learnt distribution and a Gaussian target, and the Renyi divergence of two Gaussians."""

from typing import Any

import numpy as np
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from maxent_envs.validation import FloatArray

Normal = Any  # scipy's frozen multivariate_normal, which has no public class


def gaussian_w2_squared(mean_1: FloatArray, cov_1: FloatArray, mean_2: FloatArray, cov_2: FloatArray) -> float:
    r"""
    Squared 2-Wasserstein distance of two Gaussians.

    .. math:: |m_1 - m_2|^2 + \mathrm{tr}(S_1 + S_2 - 2 (S_2^{1/2} S_1 S_2^{1/2})^{1/2})

    For any two distributions with these moments it is a lower bound (Gelbrich).

    :param mean_1: mean, (dim,)
    :param cov_1: covariance, (dim, dim), positive semidefinite
    :param mean_2: mean of the other, (dim,)
    :param cov_2: its covariance, (dim, dim)
    :return: the squared distance, in squared units of the variable
    """
    root = np.real(sqrtm(cov_2))
    cross = np.linalg.eigvalsh(root @ cov_1 @ root).clip(min=0.0)
    bures = np.trace(cov_1) + np.trace(cov_2) - 2.0 * np.sqrt(cross).sum()
    return float(np.square(mean_1 - mean_2).sum() + max(bures, 0.0))


def gaussian_renyi(order: float, target: Normal, sampling: Normal) -> float:
    r"""
    Renyi divergence R_n(target || sampling) of two Gaussians, in nats.

    With d the difference of the means and S_n = n S_sampling + (1 - n) S_target:

    .. math:: \frac{n}{2} d' S_n^{-1} d - \frac{1}{2 (n-1)} \log \frac{|S_n|}{|S_{target}|^{1-n} |S_{sampling}|^n}

    :param order: n > 1
    :param target: frozen ``scipy.stats.multivariate_normal``
    :param sampling: another one
    :return: the divergence; infinite unless S_n is positive definite
    """
    mixed = order * sampling.cov + (1.0 - order) * target.cov
    if np.linalg.eigvalsh(mixed)[0] <= 0.0:
        return float("inf")
    difference = target.mean - sampling.mean
    log_dets = [np.linalg.slogdet(cov)[1] for cov in (mixed, target.cov, sampling.cov)]
    log_ratio = log_dets[0] - (1.0 - order) * log_dets[1] - order * log_dets[2]
    return float(order / 2 * difference @ np.linalg.solve(mixed, difference) - log_ratio / (2 * (order - 1)))


def empirical_w2_squared(first: FloatArray, second: FloatArray) -> float:
    """
    Squared 2-Wasserstein distance of two equally large samples, by the best assignment of one to the other.

    :param first: points (n, dim)
    :param second: points (n, dim)
    :return: mean squared distance of the assigned pairs
    """
    cost = cdist(first, second, "sqeuclidean")
    return float(cost[linear_sum_assignment(cost)].mean())


def normal_quadrature(dim: int, order: int = 40) -> tuple[FloatArray, FloatArray]:
    """
    Gauss-Hermite quadrature under N(0, I).

    :param dim: dimension
    :param order: number of nodes on each axis
    :return: nodes (order^dim, dim) and weights (order^dim,), which sum to 1
    """
    node, weight = np.polynomial.hermite_e.hermegauss(order)
    nodes = np.stack(np.meshgrid(*[node] * dim), axis=-1).reshape(-1, dim)
    weights = np.prod(np.meshgrid(*[weight / weight.sum()] * dim), axis=0).ravel()
    return nodes, weights


def flow_w2_bounds(learnt: FloatArray, noise: FloatArray, weights: FloatArray, target: Normal) -> tuple[float, float]:
    """
    Bounds of the squared W2 distance between what a flow makes of N(0, I) and a Gaussian target, without sampling
    error.

    Below: the distance of Gaussians with the same moments. Above: the mean squared distance between where the learnt
    flow and the target's own flow, a_0 to mean + S^(1/2) a_0, take the same noise; this coupling is what the proof of
    Theorem 2 bounds.

    :param learnt: where the learnt flow takes the nodes, (n, dim)
    :param noise: nodes of a quadrature under N(0, I), (n, dim)
    :param weights: its weights, (n,)
    :param target: frozen ``scipy.stats.multivariate_normal``
    :return: lower and upper bound
    """
    mean = weights @ learnt
    centred = learnt - mean
    lower = gaussian_w2_squared(mean, centred.T @ (weights[:, None] * centred), target.mean, target.cov)
    aim = target.mean + noise @ np.real(sqrtm(target.cov))
    return lower, float(weights @ np.square(learnt - aim).sum(axis=1))
