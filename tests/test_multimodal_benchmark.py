"""The benchmark on targets of any shape: its own target is what it says, and its densities are the algorithms' own."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from experiments.distributions.multimodal import bandits
from experiments.distributions.multimodal.crescents import Crescents
from experiments.distributions.multimodal.peers import draw, make
from sb3_flowsac import FlowSAC


def quadrature(n=400):
    side = (np.arange(n) + 0.5) / n * 2.0 - 1.0
    return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(1, -1, 2), (2.0 / n) ** 2


def test_the_own_target_is_normalised_and_sampled():
    target, rng = Crescents(), np.random.default_rng(0)
    grid, area = quadrature()
    for state in target.sample_states(3, rng)[:, None]:
        mass = np.exp(target.log_density(state, grid)[0]) * area
        assert mass.sum() == pytest.approx(1.0, abs=1e-4)
        actions = target.sample(state, 40_000, rng)
        for moment in (lambda a: a[0], lambda a: a[0] ** 2, lambda a: a[0, :, :1] * a[0, :, 1:]):
            drawn = moment(actions)
            error = 5.0 * drawn.std(0) / len(drawn) ** 0.5
            assert (np.abs(drawn.mean(0) - (mass[:, None] * moment(grid)).sum(0)) < error).all()
        shares = np.bincount(target.mode_of(state, actions)[0]) / 40_000
        # A von Mises angle of concentration 4 leaves its half of the circle with probability 0.002
        np.testing.assert_allclose(shares, target.mode_masses, atol=0.012)


@pytest.mark.parametrize("algo", ["flowsac", "sac"])
def test_draws_come_with_their_density_and_leave_training_alone(algo):
    env = gym.make("BoltzmannBandit-v0")
    model = make(algo, env, seed=0, policy_kwargs={"net_arch": [16]})
    assert isinstance(model, FlowSAC if algo == "flowsac" else SAC)
    states, before = env.unwrapped.target.sample_states(2, np.random.default_rng(0)), torch.get_rng_state()
    actions, log_prob = draw(model, states, 5, seed=1)
    again, _ = draw(model, states, 5, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(actions, again)
    observations, drawn = torch.as_tensor(states, dtype=torch.float32), torch.as_tensor(actions, dtype=torch.float32)
    with torch.no_grad():
        for k in range(5):
            if algo == "flowsac":
                expected = model.policy.log_prob(states, drawn[:, k])
            else:  # SB3 adds 1e-6 within a logarithm
                mean, log_std, _ = model.actor.get_action_dist_params(observations)
                expected = model.actor.action_dist.proba_distribution(mean, log_std).log_prob(drawn[:, k])
            np.testing.assert_allclose(log_prob[:, k], expected, atol=1e-3)


def test_the_actors_and_the_critics_part_of_a_known_error():
    """A critic that is alpha log p itself: its part is 0 and the actor's is all of it."""
    env = gym.make("BoltzmannBandit-v0", target="rotating_mixture", temperature=bandits.TEMPERATURE)
    model, target = (
        FlowSAC("FlowPolicy", env, seed=0, device="cpu", policy_kwargs={"net_arch": [16]}),
        env.unwrapped.target,
    )

    class Exact:
        def features(self, obs):
            return obs

        def value(self, features, actions):
            return bandits.TEMPERATURE * torch.as_tensor(target.log_density(features, actions.double()))

    model.critic = Exact()
    parts = bandits.actor_and_critic(model, target)
    assert parts["kl_of_critic"] == pytest.approx(0.0, abs=1e-4)
    assert parts["kl_of_actor"] == pytest.approx(bandits.divergence(model, target)[0], rel=0.1)


@pytest.mark.filterwarnings("ignore:no gradient step")
@pytest.mark.parametrize("algo", ["flowsac", "sac"])
def test_a_curve_ends_at_the_tables_figure(algo, monkeypatch):
    """Both by the same estimate of the same policy."""
    monkeypatch.setattr(bandits, "N_STATES", 8)
    result = bandits.train(algo, "ring", seed=0, steps=30)
    steps, values = zip(*result["curve"], strict=True)
    assert steps == tuple(range(3, 31, 3)) and values[-1] == result["kl"]
    assert len(set(values)) == 1  # nothing has been learnt yet, and the draws are the same
