"""The best of several actions by the critics: chosen as by hand, repeatable, and kept with the policy."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats

from sb3_flowsac import FlowPolicy, FlowSAC, MultiInputPolicy, load_policy, save_policy
from sb3_flowsac.algorithm.candidates import centre_and_sobol_noise

BATCH = np.array([[0.3, -0.5, 0.2], [-0.4, 0.1, 0.6], [1.5, 0.2, -0.3]], np.float32)
BOX = {"low": (-0.5, 1.0), "high": (3.0, 1.4)}
LOW, HIGH = (np.array(BOX[name]) for name in ("low", "high"))
SQUASHED = pytest.mark.parametrize("squashed", [True, False], ids=["squashed", "unsquashed"])
N = 8


def best_by_hand(policy, noise):
    """One state and one candidate at a time: actions in the environment's units, clipped, and the index of each."""
    chosen, indices = [], []
    for obs, points in zip(torch.as_tensor(BATCH), noise, strict=True):
        latents = policy.actor.distribution(obs[None]).push(points[None])[0].detach()
        scaled = latents.tanh() if policy.squash_output else latents.clamp(-1, 1)
        values = [min(policy.critic(obs[None], action[None])[:, 0].tolist()) for action in scaled]
        indices.append(values.index(max(values)))
        chosen.append(LOW + 0.5 * (scaled[indices[-1]].numpy() + 1) * (HIGH - LOW))
    return np.array(chosen), indices


@pytest.fixture
def make_wide(make_policy, perturb):
    """A policy wide enough that unsquashed candidates leave the Box, and critics that differ."""

    def make(**kwargs):
        policy = make_policy(**BOX, log_std_init=0.5, **kwargs)
        perturb(policy.critic, 0.5)
        return policy

    return make


@SQUASHED
def test_deterministic_prediction_takes_the_best_of_centre_and_sobol_points(make_wide, squashed):
    policy = make_wide(squash_output=squashed, n_action_candidates=N)
    noise = centre_and_sobol_noise(N, 2).double()
    expected, indices = best_by_hand(policy, noise.expand(3, -1, -1))
    np.testing.assert_allclose(policy.predict(BATCH, deterministic=True)[0], expected, rtol=1e-6)
    assert any(indices), "the centre is the best everywhere: nothing is tested"
    for obs, action in zip(BATCH, expected, strict=True):
        np.testing.assert_allclose(policy.predict(obs, deterministic=True)[0], action, rtol=1e-6)


@SQUASHED
def test_stochastic_prediction_takes_the_best_of_fresh_draws(make_wide, squashed):
    policy = make_wide(squash_output=squashed, n_acting_candidates=N)
    torch.manual_seed(5)
    actions = policy.predict(BATCH)[0]
    torch.manual_seed(5)
    expected, _ = best_by_hand(policy, torch.randn(3, N, 2, dtype=torch.float64))
    np.testing.assert_allclose(actions, expected, rtol=1e-6)
    assert not np.array_equal(policy.predict(BATCH)[0], actions)


def test_deterministic_prediction_is_a_function_of_the_observation(make_wide):
    policy, before = make_wide(n_action_candidates=N), torch.get_rng_state()
    first = policy.predict(BATCH, deterministic=True)[0]
    np.testing.assert_array_equal(policy.predict(BATCH, deterministic=True)[0], first)
    np.testing.assert_allclose(policy.predict(BATCH[::-1].copy(), deterministic=True)[0], first[::-1], rtol=1e-6)
    policy.n_action_candidates = 2
    policy.n_action_candidates = N
    np.testing.assert_array_equal(policy.predict(BATCH, deterministic=True)[0], first)
    assert torch.equal(torch.get_rng_state(), before)


def test_each_setting_leaves_the_other_prediction_alone(make_wide):
    plain, deterministic, acting = make_wide(), make_wide(n_action_candidates=N), make_wide(n_acting_candidates=N)
    np.testing.assert_array_equal(*[p.predict(BATCH, deterministic=True)[0] for p in (plain, acting)])
    draws = []
    for policy in (plain, deterministic):
        torch.manual_seed(1)
        draws.append(policy.predict(BATCH)[0])
    np.testing.assert_array_equal(*draws)


def test_more_candidates_are_never_worse(make_wide):
    policy = make_wide()
    values = []
    for n in (1, 2, 8, 64):
        policy.n_action_candidates = n
        scaled = policy.box.to_scaled(
            torch.as_tensor(policy.predict(BATCH, deterministic=True)[0], dtype=torch.float64)
        )
        values.append(policy.critic(torch.as_tensor(BATCH), scaled).amin(0))
    gains = torch.stack(values).diff(dim=0)
    assert (gains > -1e-6).all() and (gains > 1e-3).any()


def test_the_noise_stands_for_a_standard_normal():
    for dim in (1, 3, 17):
        noise = centre_and_sobol_noise(2048, dim)
        assert noise.shape == (2048, dim) and torch.equal(noise[0], torch.zeros(dim))
        assert torch.equal(noise[:100], centre_and_sobol_noise(100, dim))
        for (
            column
        ) in noise.double().T.numpy():  # far nearer than draws, whose distance is about 0.87 / sqrt(2048) = 0.019
            assert stats.kstest(column, "norm").statistic < 0.004
    assert centre_and_sobol_noise(1, 2).tolist() == [[0.0, 0.0]]


def test_observations_that_are_dictionaries(perturb):
    space = spaces.Dict({"position": spaces.Box(-1, 1, (2,)), "gripper": spaces.Box(-1, 1, (1,))})
    policy = MultiInputPolicy(space, spaces.Box(-1, 1, (2, 2)), lambda _: 1e-3, net_arch=[16], n_action_candidates=8)
    for network in (policy.actor, policy.critic):
        perturb(network)
    single = {"position": np.array([0.1, 0.2], np.float32), "gripper": np.array([0.5], np.float32)}
    batch = {key: np.stack([value, 2 * value]) for key, value in single.items()}
    alone, together = (policy.predict(obs, deterministic=True)[0] for obs in (single, batch))
    assert alone.shape == (2, 2) and together.shape == (2, 2, 2)
    np.testing.assert_allclose(together[0], alone, atol=1e-5)


def test_settings_are_kept_with_model_and_policy(make_model, tmp_path):
    model = make_model("Pendulum-v1", policy_kwargs={"n_action_candidates": 8, "n_acting_candidates": 3})
    model.learn(30)
    model.save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", device="cpu")
    assert (loaded.policy.n_action_candidates, loaded.policy.n_acting_candidates) == (8, 3)
    expected = model.predict(BATCH, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(BATCH, deterministic=True)[0], expected)

    loaded.policy.n_action_candidates = 16
    loaded.policy.save(tmp_path / "policy.zip")
    save_policy(loaded.policy, tmp_path / "folder")
    more = loaded.predict(BATCH, deterministic=True)[0]
    for policy in (
        FlowPolicy.load(tmp_path / "policy.zip"),
        load_policy(tmp_path / "folder", device="cpu"),
    ):
        np.testing.assert_array_equal(policy.predict(BATCH, deterministic=True)[0], more)
    policy = load_policy(tmp_path / "folder", device="cpu", n_action_candidates=8)
    np.testing.assert_array_equal(policy.predict(BATCH, deterministic=True)[0], expected)


def test_the_noise_follows_the_policy_and_is_in_no_file(make_policy):
    policy = make_policy(**BOX, double=False, n_action_candidates=4)
    assert "candidate_noise" not in policy.state_dict()
    assert policy.double().candidate_noise.dtype == torch.float64
    policy.n_action_candidates = 6
    assert policy.candidate_noise.dtype == torch.float64 and policy.candidate_noise.shape == (6, 2)


def test_wrong_values_are_refused_when_they_are_set(make_policy):
    policy = make_policy()
    for name, value in (("n_action_candidates", 0), ("n_acting_candidates", "many")):
        with pytest.raises((ValueError, TypeError), match=f"^{name}.*{value}"):
            setattr(policy, name, value)
    assert (policy.n_action_candidates, policy.n_acting_candidates) == (1, 1)
    for name in ("n_action_candidates", "n_acting_candidates"):  # torch keeps a module that is set from the property
        with pytest.raises(ValueError, match=f"^{name}.*Identity"):
            make_policy(**{name: torch.nn.Identity()})


def test_acting_in_training_takes_the_best(make_model):
    """What the buffer holds are the actions that ``predict`` chose."""
    model = make_model("Pendulum-v1", learning_starts=0, policy_kwargs={"n_acting_candidates": 4})
    choices = []
    best = model.policy._best

    def spy(obs, candidates):
        choices.append((candidates, best(obs, candidates)))
        return choices[-1][1]

    model.policy._best = spy
    model.learn(10)
    assert [candidates.shape for candidates, _ in choices] == [(1, 4, 1)] * 10
    chosen = np.array([action.numpy() for _, action in choices])
    np.testing.assert_allclose(model.replay_buffer.actions[:10], chosen, atol=1e-6)
