"""``policy.actor`` is trained, and acts."""

import numpy as np
import pytest
import torch

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.bellman import bellman_error

OBS = np.array([[0.6, 0.8, 0.3], [-1.0, 0.0, -2.0]], np.float32)


def weights(model):
    return [parameter.detach().clone() for parameter in model.actor.parameters()]


def equal(one, other):
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_policy_and_actor_predict_alike(make_model, tmp_path):
    """After training, and after loading, as SB3's own test of SAC asks."""
    model = make_model("Pendulum-v1", policy_delay=1).learn(60)
    model.save(tmp_path / "model")
    for each in (model, FlowSAC.load(tmp_path / "model", device="cpu")):
        assert each.actor is each.policy.actor
        by_policy, by_actor = (part.predict(OBS, deterministic=True)[0] for part in (each.policy, each.actor))
        np.testing.assert_allclose(by_policy, by_actor, rtol=1e-5)  # one in numpy, the other in torch


def test_the_critics_learn_from_the_actor_that_acts(make_model):
    model = make_model("Pendulum-v1", ent_coef=0.2).learn(20)
    batch = model.replay_buffer.sample(8)

    def loss():
        torch.manual_seed(4)
        networks = model.actor, model.critic, model.critic_target
        return bellman_error(*networks, batch, model.gamma, 4, model.entropy_coefficient()).critic_loss.item()

    first = loss()
    assert loss() == first
    with torch.no_grad():
        for parameter in model.actor.parameters():
            parameter.add_(0.1)
    assert loss() != first


def test_weights_given_from_outside_stay(make_model, perturb):
    """A clone's weights are what predicts."""
    model, other = make_model("Pendulum-v1"), make_model("Pendulum-v1", seed=7)
    perturb(other.actor)
    assert not np.array_equal(*[m.predict(OBS, deterministic=True)[0] for m in (model, other)])
    model.actor.load_state_dict(other.actor.state_dict())
    np.testing.assert_array_equal(*[m.predict(OBS, deterministic=True)[0] for m in (model, other)])


@pytest.mark.parametrize("policy_delay", [1, 3])
def test_a_frozen_actor_stays_and_the_critics_learn(make_model, policy_delay):
    model = make_model("Pendulum-v1", policy_delay=policy_delay, ent_coef="auto_0.1")
    model.actor.requires_grad_(False)
    actor, critic = weights(model), [parameter.detach().clone() for parameter in model.critic.parameters()]
    model.learn(60)
    assert equal(weights(model), actor) and not equal(model.critic.parameters(), critic)
    assert model.current_ent_coef() == pytest.approx(0.1)  # nothing would answer to it


def test_frozen_critics_stay_and_the_actor_learns(make_model):
    model = make_model("Pendulum-v1")
    model.critic.requires_grad_(False)
    actor, critic = weights(model), [parameter.clone() for parameter in model.critic.parameters()]
    model.learn(60)
    assert equal(model.critic.parameters(), critic) and not equal(weights(model), actor)
