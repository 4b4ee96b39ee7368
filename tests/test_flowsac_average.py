"""The averaged actor: the recursion of its weights, and that it is what acts, predicts, is backed up and saved."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_flowsac import FlowPolicy, FlowSAC, load_policy, save_policy

OBS = np.array([[0.6, 0.8, 0.3], [-1.0, 0.0, -2.0]], np.float32)


class Normalized(BaseFeaturesExtractor):
    """Batch normalisation, whose statistics are no parameters."""

    def __init__(self, observation_space):
        super().__init__(observation_space, 3)
        self.net = nn.BatchNorm1d(3)

    def forward(self, observations):
        return self.net(observations)


@pytest.fixture
def apart(make_model, perturb):
    """A model whose actor and average are far apart."""

    def make(**kwargs):
        model = make_model("Pendulum-v1", **kwargs)
        perturb(model.actor, 0.1, seed=1)
        perturb(model.policy.actor, 0.1, seed=2)
        return model

    return make


def copies(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("policy_delay", [1, 3])
@pytest.mark.parametrize("actor_tau", [0.3, 0.9, 1.0])
def test_the_average_follows_its_recursion(make_model, policy_delay, actor_tau):
    """Its rate after the k-th step of the actor is the larger of ``actor_tau`` and 10 / (10 + k)."""
    model = make_model(
        "Pendulum-v1", policy_delay=policy_delay, actor_tau=actor_tau, learning_rate=1e-2, actor_epochs=1
    )
    expected = copies(model.policy.actor)
    assert equal(expected, model.actor.state_dict())
    model.learn(20)
    for step in range(1, 37):
        model.train(1, 8)
        if step % policy_delay == 0:
            rate = max(actor_tau, 10 / (10 + step // policy_delay))
            for name, value in model.actor.state_dict().items():
                expected[name] = (1 - rate) * expected[name] + rate * value
        average = model.policy.actor.state_dict()
        for name, value in expected.items():
            torch.testing.assert_close(average[name], value, rtol=1e-5, atol=1e-6)
    assert equal(average, model.actor.state_dict()) == (actor_tau == 1.0)


@pytest.mark.parametrize("squashed", [True, False], ids=["squashed", "unsquashed"])
def test_the_average_answers_for_the_policy(apart, squashed):
    """``predict``, ``sample``, ``log_prob`` and ``entropy`` are those of a policy whose actor and average are this
    average."""
    policy = apart(policy_kwargs={"squash_output": squashed}).policy
    alone = FlowPolicy(**policy._get_constructor_parameters())
    alone.load_state_dict(policy.state_dict())
    alone.actor.load_state_dict(policy.actor.state_dict())

    def answers(asked):
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            actions, log_prob = asked.sample(OBS, 4, generator)
            given = asked.log_prob(OBS, torch.linspace(-1.9, 1.9, 8).view(2, 4, 1))
            results = [actions, log_prob, given, asked.entropy(OBS, 4, generator)]
        torch.manual_seed(5)
        return [*results, *(torch.as_tensor(asked.predict(OBS, deterministic=d)[0]) for d in (True, False))]

    expected, actual = answers(alone), answers(policy)
    assert all(torch.equal(*pair) for pair in zip(expected, actual, strict=True))
    policy.actor.load_state_dict(policy.actor.state_dict())
    assert not any(torch.equal(*pair) for pair in zip(expected, answers(policy), strict=True))


def test_the_average_acts_in_the_environment(apart):
    model = apart(learning_starts=0, gradient_steps=0)
    observations, actions = [], []

    class Recorded(gym.Wrapper):
        def step(self, action):
            actions.append(action)
            return super().step(action)

    model.set_env(Recorded(gym.make("Pendulum-v1")))
    # The width of a policy so narrow that its draws tell its mean
    with torch.no_grad():
        for actor, mean in ((model.actor, -1.0), (model.policy.actor, 1.0)):
            actor.flow.base.head.weight.zero_()
            actor.flow.base.head.bias.copy_(torch.tensor([mean, -6.0]))
            for parameter in actor.flow.field.parameters():
                parameter.zero_()
    model.learn(10)
    observations.extend(model.replay_buffer.observations[:10, 0])
    assert len(observations) == len(actions) == 10
    np.testing.assert_allclose(np.ravel(actions), 2.0 * np.tanh(1.0), atol=0.05)


def test_the_average_is_backed_up(apart):
    """The critics' target changes with the average, and not with the actor."""
    model = apart(ent_coef=0.2, n_next_actions=4)
    model.learn(20)
    batch = model.replay_buffer.sample(8)

    def figures():
        stats = {name: [] for name in ("critic_loss", "q_value", "log_prob", "clip_fraction")}
        torch.manual_seed(4)
        return model._critic_loss(batch, model.entropy_coefficient(), stats).item(), stats["log_prob"][0].item()

    first = figures()
    with torch.no_grad():
        for parameter in model.actor.parameters():
            parameter.add_(1.0)
    assert figures() == first
    model.policy.actor.load_state_dict(model.actor.state_dict())
    second = figures()
    assert second[0] != first[0] and second[1] != first[1]


def test_the_actor_proposes(apart, monkeypatch):
    """Improvement starts from the trained actor, whatever its average is."""
    model = apart(sampling_distribution="policy")
    seen = []

    def given(improvement, n):
        seen.append(improvement.policy)
        return type(model.sampling_distribution).given(model.sampling_distribution, improvement, n)

    monkeypatch.setattr(model.sampling_distribution, "given", given)
    locs = [actor.distribution(torch.as_tensor(OBS)).base.loc for actor in (model.actor, model.policy.actor)]
    stats = {name: [] for name in ("actor_loss", "irregular_fraction", "n_proposals", "ess")}
    stats |= {name: [] for name in ("renyi_2", "renyi_4", "max_weight")}
    model.improve_actor(torch.as_tensor(OBS), torch.zeros(2, 1), torch.tensor(0.2), stats)
    assert torch.equal(seen[0].base.loc, locs[0]) and not torch.equal(*locs)


def test_no_optimizer_trains_the_average(make_model):
    model = make_model("Pendulum-v1", policy_kwargs={"features_extractor_class": Normalized}).learn(40)
    average = {id(p) for p in model.policy.actor.parameters()}
    for optimizer in (model.actor.optimizer, model.critic.optimizer, model.ent_coef_optimizer):
        assert not average & {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert all(p.grad is None for p in model.policy.actor.parameters())
    assert not average & {
        id(p) for module in (model.actor, model.critic, model.critic_target) for p in module.parameters()
    }


@pytest.mark.parametrize("shared", [True, False])
def test_batch_statistics_are_copied(make_model, shared):
    kwargs = {"features_extractor_class": Normalized, "share_features_extractor": shared}
    model = make_model("Pendulum-v1", policy_delay=1, policy_kwargs=kwargs)
    model.policy.set_training_mode(True)
    assert not model.policy.actor.training and not model.policy.actor.features_extractor.training
    assert model.policy.train().actor.training and not model.policy.actor.features_extractor.training
    start = copies(model.policy.actor.features_extractor)
    model.learn(40)
    extractors = model.actor.features_extractor.net, model.policy.actor.features_extractor.net
    for name in ("running_mean", "running_var"):
        ours, average = (getattr(extractor, name) for extractor in extractors)
        assert torch.equal(ours, average) and not torch.equal(average, start[f"net.{name}"])


def test_the_average_is_saved_and_loaded(apart, tmp_path):
    """With the model, with the policy alone and in files without pickles."""
    model = apart()
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    save_policy(model.policy, tmp_path / "pretrained")
    policies = [
        FlowSAC.load(tmp_path / "model", device="cpu").policy,
        FlowPolicy.load(tmp_path / "policy", device="cpu"),
        load_policy(tmp_path / "pretrained", device="cpu"),
    ]
    actor, average = model.actor.state_dict(), model.policy.actor.state_dict()
    assert not equal(actor, average)
    for policy in policies:
        assert equal(policy.actor.state_dict(), actor) and equal(policy.actor.state_dict(), average)
        np.testing.assert_array_equal(*[p.predict(OBS, deterministic=True)[0] for p in (policy, model.policy)])
