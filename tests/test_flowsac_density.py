"""The policy's density in the environment's units: it integrates to one and is that of its samples."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from sb3_flowsac.algorithm import density as density_module

OBS = np.array([[0.3, -0.5, 0.2], [-0.4, 0.1, 0.6]], np.float32)
LOW, HIGH = (-0.5, 1.0), (3.0, 1.4)  # asymmetric, of unequal width
VARIANTS = {
    "default": {},
    "standard": {"base": "standard"},
    "mlp": {"field": "mlp"},
    "paper": {"base": "standard", "ode_steps": 48, "density": "trace"},
    "one-step": {"ode_steps": 1, "ode_solver": "euler", "scale": 0.01, "field_kwargs": {"units": 4}},
    "rk4": {"ode_solver": "rk4", "ode_grid_power": 1.5},
}
SQUASHED = pytest.mark.parametrize("squashed", [True, False], ids=["squashed", "unsquashed"])


def grid(policy, dim, squashed):
    """
    Actions and weights of a quadrature.

    Gauss-Legendre on the box of a squashed policy; the trapezoidal rule, far beyond the box, of an unsquashed one.
    """
    if squashed:
        nodes, weights = np.polynomial.legendre.leggauss(200 if dim == 1 else 64)
    else:
        nodes, weights = np.linspace(-9.0, 9.0, 181), np.full(181, 0.1)
    centre, half = (policy.box.high + policy.box.low).numpy() / 2, policy.box.scale.numpy()
    axes = [centre[i] + half[i] * nodes for i in range(dim)]
    actions = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dim)
    volume = np.prod(np.stack(np.meshgrid(*[h * weights for h in half[:dim]], indexing="ij")), axis=0).ravel()
    return torch.tensor(actions), torch.tensor(volume)


@pytest.mark.parametrize(
    ("variant", "dim"), [*[(variant, 1) for variant in VARIANTS], ("default", 2), ("standard", 2), ("one-step", 2)]
)
@SQUASHED
def test_the_density_integrates_to_one(make_policy, variant, dim, squashed):
    policy = make_policy(LOW[:dim], HIGH[:dim], squash_output=squashed, **VARIANTS[variant])
    actions, volume = grid(policy, dim, squashed)
    with torch.no_grad():
        density = policy.log_prob(OBS, actions.expand(2, -1, -1)).exp()
        plain = make_policy(LOW[:dim], HIGH[:dim], squash_output=squashed, **{**VARIANTS[variant], "scale": 0.0})
        difference = (density - plain.log_prob(OBS, actions.expand(2, -1, -1)).exp()).abs()
    np.testing.assert_allclose(density @ volume, 1.0, atol=1e-4)
    assert (difference @ volume > 0.01).all()  # not the density of a new policy


@pytest.mark.parametrize("variant", VARIANTS)
@SQUASHED
def test_sample_to_log_prob_round_trip(make_policy, variant, squashed):
    policy = make_policy(LOW, HIGH, squash_output=squashed, **VARIANTS[variant])
    with torch.no_grad():
        actions, log_prob = policy.sample(OBS, 200)
        again = policy.log_prob(OBS, actions)
    assert actions.shape == (2, 200, 2) and log_prob.shape == (2, 200)
    torch.testing.assert_close(again, log_prob, rtol=0, atol=1e-4)


@SQUASHED
def test_round_trip_in_single_precision(make_policy, squashed):
    """
    To 1e-4, and near the bounds of a squashed policy to what the rounding of an action does to its latent: an error e
    of the scaled action moves log(1 - a^2) by about 2 e / (1 - |a|).
    """
    policy = make_policy(LOW, HIGH, squash_output=squashed, double=False)
    with torch.no_grad():
        actions, log_prob = policy.sample(OBS, 2000)
        difference = (policy.log_prob(OBS, actions) - log_prob).abs()
    tolerance = torch.full_like(difference, 1e-4)
    if squashed:
        # Actions of about 3 in units of half widths of 0.2 carry 15 roundings
        slack = 1.0 - policy.box.to_scaled(actions).abs()
        tolerance = tolerance + (2 * 15 * torch.finfo(torch.float32).eps / slack.clamp(min=1e-7)).sum(-1)
        assert (tolerance < 3e-4).float().mean() > 0.9
    assert (difference <= tolerance).all()


@SQUASHED
def test_samples_follow_the_density(make_policy, squashed):
    """Kolmogorov-Smirnov against the distribution function by quadrature, in each state."""
    policy = make_policy(LOW[:1], HIGH[:1], squash_output=squashed, ode_steps=2)
    with torch.no_grad():
        samples, _ = policy.sample(OBS, 5000)
        low, high = (LOW[0], HIGH[0]) if squashed else (-15.0, 20.0)
        axis = torch.linspace(low, high, 8001, dtype=torch.float64)[1:-1]
        density = policy.log_prob(OBS, axis.view(1, -1, 1).expand(2, -1, -1)).exp()
    step = (axis[1] - axis[0]).item()
    assert (density[0] - density[1]).abs().sum() * step > 0.02  # the states differ
    for b in range(2):
        cumulative = np.cumsum(density[b].numpy()) * step
        test = kstest(samples[b, :, 0].numpy(), lambda x, c=cumulative: np.interp(x, axis.numpy(), c))
        assert test.pvalue > 1e-3


@SQUASHED
def test_entropy_is_minus_the_integral_of_p_log_p(make_policy, squashed):
    policy = make_policy(LOW, HIGH, squash_output=squashed)
    actions, volume = grid(policy, 2, squashed)
    with torch.no_grad():
        log_prob = policy.log_prob(OBS, actions.expand(2, -1, -1)).clamp(min=-1e3)
        entropy = policy.entropy(OBS, 20_000)
    mean = -(log_prob.exp() * log_prob) @ volume
    spread = ((log_prob.exp() * log_prob.square()) @ volume - mean.square()).sqrt()
    assert entropy.shape == (2,)
    assert ((entropy - mean).abs() < 4.5 * spread / 20_000**0.5 + 1e-3).all()


def test_a_new_unsquashed_policy_is_a_gaussian_in_units_of_the_box(make_policy):
    policy = make_policy((-1.0,), (3.0,), scale=0.0, squash_output=False, log_std_init=math.log(0.25))
    torch.nn.init.zeros_(policy.actor.flow.base.head.weight)  # its mean
    actions = np.linspace(-3.0, 5.0, 17)
    expected = norm(1.0, 0.5).logpdf(actions)  # a quarter of the half width of 2
    actual = policy.log_prob(OBS[:1], actions.reshape(1, -1, 1))
    np.testing.assert_allclose(actual[0].numpy(force=True), expected, rtol=1e-6)  # log_std_init is single
    assert policy.entropy(OBS[:1], 50_000).item() == pytest.approx(
        norm(1.0, 0.5).entropy(), abs=4.5 * 0.5**0.5 / 50_000**0.5
    )


def test_a_new_squashed_policy_is_a_gaussian_through_tanh(make_policy):
    policy = make_policy((-1.0,), (3.0,), scale=0.0, log_std_init=-0.5)
    torch.nn.init.zeros_(policy.actor.flow.base.head.weight)  # its mean
    scaled = np.linspace(-0.99, 0.99, 21)
    expected = norm(0, math.exp(-0.5)).logpdf(np.arctanh(scaled)) - np.log(1 - scaled**2) - math.log(2.0)
    actual = policy.log_prob(OBS[:1], (1.0 + 2.0 * scaled).reshape(1, -1, 1))
    np.testing.assert_allclose(actual[0].numpy(force=True), expected, rtol=1e-6)  # log_std_init is single


@SQUASHED
def test_units_differ_by_the_logarithm_of_the_half_widths(make_policy, squashed):
    """Training's log-density is of the scaled action; ``sample`` speaks of the environment's."""
    policy = make_policy(LOW, HIGH, squash_output=squashed, density="trace")
    obs = np.repeat(OBS, 25, axis=0)
    with torch.no_grad():
        torch.manual_seed(7)
        scaled, scaled_log_prob = policy.actor.action_log_prob(torch.as_tensor(obs))
        torch.manual_seed(7)
        actions, log_prob = policy.sample(obs)
    centre, half = (np.array(HIGH) + LOW) / 2, (np.array(HIGH) - LOW) / 2
    np.testing.assert_allclose(actions, centre + half * scaled.numpy(), rtol=1e-6)
    np.testing.assert_allclose(log_prob, scaled_log_prob - np.log(half).sum(), atol=1e-6)


@pytest.mark.parametrize("n", [1, 4])
def test_training_takes_the_trace_integral_of_the_policy_with_the_exact_density(make_policy, n):
    policy = make_policy(LOW, HIGH, scale=0.2, density="exact", ode_steps=1)
    obs = torch.as_tensor(np.repeat(OBS, 50, axis=0))
    drawn = {}
    for density in ("trace", "exact"):
        torch.manual_seed(7)
        with torch.no_grad():
            latents, log_prob = policy.actor.distribution(obs).sample_with_log_prob(n, density=density, antithetic=True)
        drawn[density] = log_prob - policy.actor.transform.bounded_log_det(latents)
    torch.manual_seed(7)
    _, log_prob = policy.actor.action_log_prob(obs, n)
    torch.testing.assert_close(log_prob, drawn["trace"], rtol=1e-8, atol=1e-8)
    assert (log_prob - drawn["exact"]).abs().max() > 5e-3  # the two are told apart
    assert not log_prob.requires_grad


def test_chunks_do_not_change_the_draws(make_policy, monkeypatch):
    policy = make_policy(LOW, HIGH)
    with torch.no_grad():
        whole = policy.sample(OBS, 50, torch.Generator().manual_seed(0))
        monkeypatch.setattr(density_module, "LARGEST_PART", 7 * len(OBS))
        parts = policy.sample(OBS, 50, torch.Generator().manual_seed(0))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_no_density_outside_the_box_of_a_squashed_policy(make_policy):
    policy = make_policy(LOW, HIGH)
    outside = torch.tensor([[-0.51, 1.2], [3.01, 1.2], [1.0, 0.99], [1.0, 1.41], [1e6, -1e6], [math.inf, 1.2]])
    inside = torch.tensor([[-0.49, 1.2], [2.99, 1.2], [1.0, 1.01], [1.0, 1.39]])
    for actions, finite in ((outside, False), (inside, True)):
        log_prob = policy.log_prob(OBS[0], actions.unsqueeze(0))
        assert log_prob.shape == (1, len(actions))
        assert log_prob.isfinite().all() if finite else (log_prob == -math.inf).all()


def test_an_unsquashed_policy_has_density_outside_the_box(make_policy):
    policy = make_policy(LOW, HIGH, squash_output=False)
    assert policy.log_prob(OBS[0], torch.tensor([[[-0.51, 1.2], [3.5, 1.6], [1.0, 1.2]]])).isfinite().all()


@pytest.mark.parametrize("bounds", [((-1.0, -1.0), (1.0, 1.0)), (LOW, HIGH), ((100.0, -1e4), (101.0, 3e4))])
@pytest.mark.parametrize("latent", [12.0, -40.0, 500.0])
def test_saturated_samples_lie_in_the_box_with_finite_densities(make_policy, bounds, latent):
    policy = make_policy(*bounds, double=False)
    with torch.no_grad():
        policy.actor.flow.base.head.bias[:2] = latent
        actions, log_prob = policy.sample(OBS, 100)
        again = policy.log_prob(OBS, actions)
    low, high = (torch.tensor(bound, dtype=actions.dtype) for bound in bounds)
    assert ((actions >= low) & (actions <= high)).all()
    assert log_prob.isfinite().all() and again.isfinite().all()
    assert (
        policy.log_prob(OBS[:1], low.view(1, 2)).isfinite().all()
        and policy.log_prob(OBS[:1], high.view(1, 2)).isfinite().all()
    )


@pytest.mark.parametrize("variant", ["default", "standard", "one-step"])
@pytest.mark.parametrize("scale", [0.5, 2.0])
@SQUASHED
def test_every_sample_of_a_wild_field_has_a_finite_density(make_policy, variant, scale, squashed):
    policy = make_policy(LOW, HIGH, squash_output=squashed, double=False, **{**VARIANTS[variant], "scale": scale})
    with torch.no_grad():
        actions, log_prob = policy.sample(OBS, 200)
        again = policy.log_prob(OBS, actions)
    assert log_prob.isfinite().all()
    assert again.isfinite().all()


def test_an_action_that_is_no_number_is_refused(make_policy):
    with pytest.raises(ValueError, match="actions must be numbers, got nan"):
        make_policy().log_prob(np.zeros((1, 3)), np.full((1, 1), np.nan))
