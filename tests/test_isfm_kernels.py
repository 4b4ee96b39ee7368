"""Mixtures of kernels: their density, where they stand and how wide they are."""

import math

import numpy as np
import pytest
import torch
from improvements import F64, TRANSFORMS, flow_policy, step_of
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import gaussian_kde, norm
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from sb3_flowsac.flow import Identity, Tanh
from sb3_flowsac.isfm import GuidedKernels, KernelMixture, ReplayKernels


@pytest.mark.parametrize("shared", [True, False], ids=["one-bandwidth-each", "one-for-each-dimension"])
@pytest.mark.parametrize("dim", [1, 3])
def test_density_of_a_kernel_mixture(dim, shared):
    centres, log_shares = torch.randn(4, 5, dim, **F64), torch.log_softmax(torch.randn(5, **F64), 0)
    bandwidths = torch.rand(4, 5, 1 if shared else dim, **F64) + 0.1
    owner, noise = torch.randint(5, (4, 7)), torch.randn(4, 7, dim, **F64)
    mixture = KernelMixture(centres, bandwidths, log_shares, owner, noise)
    law = MixtureSameFamily(
        Categorical(logits=log_shares.expand(4, 5)), Independent(Normal(centres, bandwidths.expand_as(centres)), 1)
    )
    latents, log_prob = mixture.sample_with_log_prob()
    torch.testing.assert_close(log_prob.T, law.log_prob(latents.transpose(0, 1)))
    for b in range(4):
        for i, k in enumerate(owner[b]):
            torch.testing.assert_close(latents[b, i], centres[b, k] + bandwidths[b, k] * noise[b, i])


def anchors_of(policy, n):
    """The draws of the policy that guided kernels start from under the same random state, which is left as it was."""
    state = torch.get_rng_state()
    anchors = policy.push(policy.noise((n + 1) // 2, antithetic=True))
    torch.set_rng_state(state)
    return anchors


@pytest.mark.parametrize("dim", [1, 2, 6])
@pytest.mark.parametrize("n", [16, 7])
@TRANSFORMS
def test_guided_kernels_move_by_half_a_langevin_step(perturb, transform, dim, n):
    """Of Q / alpha linear in the action: uphill, by b^2 / 2 times the score, at most b times the root of d."""
    policy = flow_policy(perturb, dim, batch=3, n_steps=4)
    slope = torch.linspace(0.5, -1.0, dim, **F64)
    for size in (1.0, 1e6, 0.0):
        improvement = step_of(policy, transform, lambda actions, size=size: actions @ (size * slope))
        anchors = anchors_of(policy, n)
        given = GuidedKernels().given(improvement, n)
        nearest = np.stack([np.sort(cdist(points, points))[:, 2] for points in anchors.numpy()])
        bandwidths = torch.as_tensor(nearest / np.sqrt(2 * dim)).unsqueeze(-1)
        torch.testing.assert_close(given.bandwidths, bandwidths.expand_as(given.centres))
        score, move = improvement.score(anchors), given.centres - anchors
        step = 0.5 * bandwidths**2 * score
        ratio = bandwidths * dim**0.5 / step.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(move, step * ratio.clamp(max=1.0) if score.any() else torch.zeros_like(move))
        assert ((move * score).sum(-1) >= 0).all()
        if size == 1e6:
            assert (ratio < 1).all()


def test_guided_kernels_draw_in_mirrored_pairs_and_know_the_shares_of_their_kernels(perturb):
    policy = flow_policy(perturb, dim=2, batch=3, n_steps=4)
    given = GuidedKernels().given(step_of(policy, Tanh()), 7)
    torch.testing.assert_close(given.log_shares.exp(), torch.tensor([2, 2, 2, 1], **F64) / 7)
    latents, _ = given.sample_with_log_prob()
    torch.testing.assert_close(0.5 * (latents[:, :3] + latents[:, 4:]), given.centres[:, :3])


@pytest.mark.parametrize("n", [3, 8])
def test_anchors_that_coincide_leave_finite_kernels(perturb, n):
    policy = flow_policy(perturb, dim=2, batch=2, n_steps=2)
    policy.base.scale_tril.zero_()
    latents, log_prob = GuidedKernels().given(step_of(policy, Tanh()), n).sample_with_log_prob()
    assert latents.isfinite().all() and log_prob.isfinite().all()
    assert (latents - policy.base.loc.unsqueeze(1)).abs().max() < 0.1


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_proposals_for_guided_kernels_are_named(n):
    with pytest.raises(ValueError, match=f"n_proposals={n} "):
        GuidedKernels().check(n)
    GuidedKernels().check(3)


@pytest.mark.parametrize("factor", [1.0, 0.5])
@TRANSFORMS
def test_replay_kernels_are_scipys_estimate_in_one_dimension(perturb, transform, factor):
    """Which divides the variance by one less; the same in every state."""
    improvement = step_of(flow_policy(perturb, batch=12), transform)
    actions = improvement.replay_actions.numpy()[:, 0]
    data = np.arctanh(actions) if transform.squashes else actions
    kde = gaussian_kde(data, bw_method=factor * 12 ** (-1 / 5) * (11 / 12) ** 0.5)
    points = torch.linspace(-1.5, 1.5, 21, **F64).view(1, -1, 1).expand(12, -1, -1)
    log_prob = ReplayKernels(factor).given(improvement, 4).log_prob(points)
    for row in log_prob.numpy():
        np.testing.assert_allclose(row, kde.logpdf(points[0, :, 0].numpy()), rtol=1e-8)


def test_replay_kernels_in_two_dimensions(perturb):
    improvement = step_of(flow_policy(perturb, dim=2, batch=9), Identity())
    centres = improvement.replay_actions.numpy()
    centres[:, 1] *= 0.2
    bandwidths = 9 ** (-1 / 6) * centres.std(0)
    points = torch.randn(9, 4, 2, **F64)
    kernels = norm(centres, bandwidths).logpdf(points.numpy()[:, :, None, :]).sum(-1)
    log_prob = ReplayKernels().given(improvement, 4).log_prob(points)
    np.testing.assert_allclose(log_prob, logsumexp(kernels, axis=-1) - np.log(9), rtol=1e-8)


def test_replay_draws_are_mirrored_at_actions_of_any_state(perturb):
    improvement = step_of(flow_policy(perturb, dim=2, batch=10), Tanh())
    latents, _ = ReplayKernels().given(improvement, 8).sample_with_log_prob()
    middles = 0.5 * (latents[:, :4] + latents[:, 4:])
    distances = torch.cdist(middles, improvement.replay_actions.atanh().expand(10, -1, -1))
    assert (distances.amin(-1) < 1e-9).all()
    assert len(distances.argmin(-1).unique()) > 5


@pytest.mark.parametrize("batch", [1, 4])
def test_equal_replay_actions_leave_finite_kernels(perturb, batch):
    improvement = step_of(flow_policy(perturb, dim=3, batch=batch), Tanh())
    improvement.replay_actions.fill_(1.0)  # and on the bound of the box
    latents, log_prob = ReplayKernels().given(improvement, 6).sample_with_log_prob()
    assert latents.isfinite().all() and log_prob.isfinite().all()


def test_replay_kernels_without_replay_actions_are_named(perturb):
    with pytest.raises(ValueError, match="replay_actions"):
        ReplayKernels().given(step_of(flow_policy(perturb), Tanh(), replay=False), 4)


@pytest.mark.parametrize("factor", [0.0, -1.0, math.inf, math.nan])
def test_a_factor_out_of_range_is_named(factor):
    with pytest.raises(ValueError, match="factor"):
        ReplayKernels(factor)
