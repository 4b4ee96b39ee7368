"""The linear base: a step of SGD is a step towards the weighted least-squares fit, whatever the units."""

import numpy as np
import pytest
import torch

from sb3_flowsac.flow.base import LinearBase

BATCH, DRAWS, FEATURES, DIM = 40, 6, 3, 2


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((BATCH, FEATURES))
    points = features[:, None] @ rng.standard_normal((FEATURES, DIM)) + rng.standard_normal((BATCH, DRAWS, DIM))
    weights = rng.dirichlet(np.ones(DRAWS), BATCH)
    return features, points, weights


def least_squares(features, points, weights):
    """Coefficients (DIM, FEATURES) and the covariance of the residuals."""
    root = np.sqrt(weights / BATCH).reshape(-1, 1)
    repeated, flat = np.repeat(features, DRAWS, axis=0), points.reshape(-1, DIM)
    gain = np.linalg.lstsq(root * repeated, root * flat, rcond=None)[0].T
    residuals = root * (flat - repeated @ gain.T)
    return gain, residuals.T @ residuals


def stepped(base, rate, features, points, weights):
    optimizer = torch.optim.SGD(base.parameters(), lr=rate)
    features, points, weights = (torch.as_tensor(array, dtype=torch.float32) for array in (features, points, weights))
    loss = -(weights * base(features).log_prob(points)).sum(-1).mean()
    loss.backward()
    optimizer.step()
    return base.gain.detach().double().numpy(), base.covariance.detach().double().numpy()


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_a_step_goes_its_share_of_the_way_to_the_fit(data, rate):
    gain, covariance = stepped(LinearBase(FEATURES, DIM, log_std_init=0.5), rate, *data)
    expected_gain, expected_covariance = least_squares(*data)
    assert gain == pytest.approx(rate * expected_gain, rel=1e-4, abs=1e-5)
    expected = (1.0 - rate) * np.exp(1.0) * np.eye(DIM) + rate * expected_covariance
    assert covariance == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("distance", [100.0, 1000.0])
def test_a_mean_far_away_does_not_widen_the_fit(data, distance):
    """Its second moment is a million times the covariance, and single precision has seven digits."""
    features, points, weights = data
    base = LinearBase(FEATURES, DIM)
    with torch.no_grad():
        base.gain.fill_(distance)
    _, covariance = stepped(base, 1.0, features, points, weights)
    assert covariance == pytest.approx(least_squares(*data)[1], rel=0.05, abs=0.02)


def test_units_do_not_matter(data):
    features, points, weights = data
    of_features, of_points = np.array([1e-3, 1.0, 1e3]), np.array([1e-2, 1e2])
    base = LinearBase(FEATURES, DIM)
    with torch.no_grad():
        base.covariance.copy_(torch.diag(torch.as_tensor(of_points**2, dtype=torch.float32)))
    gain, covariance = stepped(base, 0.5, features * of_features, points * of_points, weights)
    plain_gain, plain_covariance = stepped(LinearBase(FEATURES, DIM), 0.5, features, points, weights)
    assert gain * of_features / of_points[:, None] == pytest.approx(plain_gain, rel=1e-3, abs=1e-5)
    assert covariance / np.outer(of_points, of_points) == pytest.approx(plain_covariance, rel=1e-3, abs=1e-5)
