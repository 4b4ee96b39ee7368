"""An improvement step's target as a density of latents, its gradients and its weights."""

import numpy as np
import torch
from improvements import F64, TRANSFORMS, flow_policy, step_of, waves

from sb3_flowsac.flow import Identity, Tanh
from sb3_flowsac.isfm import Draws, Improvement


@TRANSFORMS
def test_log_target_is_that_of_latents(perturb, transform):
    """Q / alpha of the action plus the logarithm of the change of variables."""
    improvement = step_of(flow_policy(perturb, dim=2, batch=3), transform)
    latents = torch.rand(3, 5, 2, **F64) * 1.8 - 0.9
    actions = np.tanh(latents.numpy()) if transform.squashes else latents.numpy()
    expected = 0.25 * np.sin(4 * actions).sum(-1) - 0.2 * actions[..., 0] ** 2
    if transform.squashes:
        expected = expected + np.log(1 - actions**2).sum(-1)
    np.testing.assert_allclose(improvement.log_target(latents), expected, rtol=1e-12)


def test_there_is_no_target_outside_the_box(perturb):
    latents = torch.tensor([[[0.5, 1.01], [-1.5, 0.0], [1.0, -1.0], [0.2, 0.3]]], **F64)
    policy = flow_policy(perturb, dim=2)
    assert (step_of(policy, Identity()).log_target(latents) == -torch.inf).tolist() == [[True, True, False, False]]
    assert step_of(policy, Tanh()).log_target(10 * latents).isfinite().all()


@TRANSFORMS
def test_scores_are_the_finite_differences(perturb, transform):
    improvement = step_of(flow_policy(perturb, dim=3, batch=2), transform)
    function = improvement.log_action_target
    points, step = torch.rand(2, 4, 3, **F64) - 0.5, 1e-6
    with torch.no_grad():  # as in training
        score = improvement.action_score(points)
    assert not score.requires_grad
    for i, direction in enumerate(step * torch.eye(3, **F64)):
        expected = (function(points + direction) - function(points - direction)) / (2 * step)
        torch.testing.assert_close(score[..., i], expected, rtol=1e-6, atol=1e-8)


def test_scores_that_are_not_finite_are_zero(perturb):
    """The square root of a has no gradient below 0 and an infinite one at 0."""
    improvement = step_of(flow_policy(perturb), Identity(), lambda actions: actions[..., 0].sqrt())
    points = torch.tensor([[[0.25], [-0.25], [0.0], [0.64]]], **F64)
    score = improvement.action_score(points)
    torch.testing.assert_close(score, torch.tensor([[[1.0], [0.0], [0.0], [0.625]]], **F64))


def test_scores_leave_no_gradients_behind(perturb):
    """Neither in what Q is computed from, nor in the points."""
    slope = torch.ones(1, **F64, requires_grad=True)
    improvement = step_of(flow_policy(perturb), Tanh(), lambda actions: (slope * actions).sum(-1))
    points = torch.zeros(1, 2, 1, **F64, requires_grad=True)
    assert improvement.action_score(points).eq(1.0).all()
    assert slope.grad is None and points.grad is None


def test_a_constant_of_q_changes_nothing(perturb):
    policy, latents = flow_policy(perturb, batch=2), torch.rand(2, 6, 1, **F64) - 0.5
    steps = [Improvement(policy, Tanh(), lambda a, c=c: waves(a) + c) for c in (0.0, 7.0)]
    draws = Draws(latents, *torch.randn(2, 2, 6, **F64))
    torch.testing.assert_close(*[step.tempered_weights(draws, 2.0)[0] for step in steps])
    torch.testing.assert_close(*[step.action_score(latents) for step in steps])
