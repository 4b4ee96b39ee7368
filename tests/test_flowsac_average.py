"""The actor's weights are a running average over its optimizer's steps, and what acts is ``policy.actor``."""

import numpy as np
import pytest
import torch
from torch import nn

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.averaging import WeightAverage
from sb3_flowsac.algorithm.bellman import bellman_error

OBS = np.array([[0.6, 0.8, 0.3], [-1.0, 0.0, -2.0]], np.float32)


def weights(model):
    return [parameter.detach().clone() for parameter in model.actor.parameters()]


def equal(one, other):
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("tau", [0.3, 0.9, 1.0])
def test_the_average_follows_its_recursion(tau):
    """Its rate after the k-th step is the larger of tau and 10 / (10 + k); the optimizer sees what it has left."""
    weight = nn.Parameter(torch.zeros(3))
    average = WeightAverage([weight], tau)
    expected, ahead = torch.zeros(3), torch.zeros(3)
    for step in range(1, 40):
        change = torch.tensor([1.0, -2.0, 0.5]) * np.sin(step)
        with average.ahead():
            torch.testing.assert_close(weight.detach(), ahead)
            with torch.no_grad():
                weight += change
            average.follow()
        ahead = ahead + change
        rate = max(tau, 10 / (10 + step))
        expected = (1 - rate) * expected + rate * ahead
        torch.testing.assert_close(weight.detach(), expected)
    assert torch.allclose(expected, ahead) == (tau == 1.0)


def test_steps_taken_together_are_averaged_one_by_one():
    one, other = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    apart, together = WeightAverage([one], 0.1), WeightAverage([other], 0.1)
    for change in (1.0, -3.0, 2.0):
        with apart.ahead(), torch.no_grad():
            one += change
            apart.follow()
    with together.ahead(), torch.no_grad():
        for change in (1.0, -3.0, 2.0):
            other += change
            together.follow()
    torch.testing.assert_close(one, other)


def test_an_error_on_the_way_leaves_the_average_in_place():
    weight = nn.Parameter(torch.zeros(1))
    average = WeightAverage([weight], 0.5)
    with pytest.raises(RuntimeError), average.ahead(), torch.no_grad():
        weight += 1.0
        raise RuntimeError
    assert weight.item() == 0.0


def test_policy_and_actor_predict_alike(make_model, tmp_path):
    """After training, and after loading, as SB3's own test of SAC asks."""
    model = make_model("Pendulum-v1", policy_delay=1).learn(60)
    model.save(tmp_path / "model")
    for each in (model, FlowSAC.load(tmp_path / "model", device="cpu")):
        assert each.actor is each.policy.actor
        by_policy, by_actor = (part.predict(OBS, deterministic=True)[0] for part in (each.policy, each.actor))
        np.testing.assert_allclose(by_policy, by_actor, rtol=1e-5)  # one in numpy, the other in torch


def test_the_lead_of_the_optimizer_is_saved(make_model, tmp_path):
    model = make_model("Pendulum-v1", policy_delay=1, actor_tau=0.01).learn(60)
    model.save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", device="cpu")
    saved, found = model.optimizer_average.state_dict(), loaded.optimizer_average.state_dict()
    assert saved["n_steps"] == found["n_steps"] > 0
    assert equal(saved["offsets"], found["offsets"]) and not all(not offset.any() for offset in saved["offsets"])


def test_the_critics_learn_from_the_actor_that_acts(make_model):
    """The weights that the optimizer works on do not matter to them."""
    model = make_model("Pendulum-v1", ent_coef=0.2).learn(20)
    batch = model.replay_buffer.sample(8)

    def loss():
        torch.manual_seed(4)
        networks = model.actor, model.critic, model.critic_target
        return bellman_error(*networks, batch, model.gamma, 4, model.entropy_coefficient()).critic_loss.item()

    first = loss()
    for offset in model.optimizer_average.offsets:
        offset.add_(1.0)
    assert loss() == first
    with torch.no_grad():
        for parameter in model.actor.parameters():
            parameter.add_(0.1)
    assert loss() != first


def test_improvement_starts_from_where_the_optimizer_is(make_model):
    model = make_model("Pendulum-v1", learning_rate=0.0, actor_tau=1.0)
    model.optimizer_average.n_steps = 10**9
    before = weights(model)
    for offset in model.optimizer_average.offsets:
        offset.add_(0.5)
    model.improve_actor(torch.as_tensor(OBS), torch.tensor(0.2))
    for ours, start in zip(weights(model), before, strict=True):
        torch.testing.assert_close(ours, start + 0.5)


def test_weights_given_from_outside_stay(make_model, perturb):
    """A clone's weights are what predicts, and training goes on from them."""
    model, other = make_model("Pendulum-v1"), make_model("Pendulum-v1", seed=7)
    perturb(other.actor)
    assert not np.array_equal(*[m.predict(OBS, deterministic=True)[0] for m in (model, other)])
    model.actor.load_state_dict(other.actor.state_dict())
    np.testing.assert_array_equal(*[m.predict(OBS, deterministic=True)[0] for m in (model, other)])
    with model.optimizer_average.ahead():
        assert equal(weights(model), weights(other))


@pytest.mark.parametrize("policy_delay", [1, 3])
def test_a_frozen_actor_stays_and_the_critics_learn(make_model, policy_delay):
    model = make_model("Pendulum-v1", policy_delay=policy_delay)
    model.actor.requires_grad_(False)
    actor, critic = weights(model), [parameter.detach().clone() for parameter in model.critic.parameters()]
    model.learn(60)
    assert equal(weights(model), actor) and not equal(model.critic.parameters(), critic)
