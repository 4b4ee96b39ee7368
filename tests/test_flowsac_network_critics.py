"""Critics of networks with quantiles, layer normalisation and normalised input, alone and together."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interrupted import TOTAL, assert_same, everything, resume, scramble, small, stop_at
from network_critics import make_critic, random_transitions
from sb3_contrib.common.utils import quantile_huber_loss as contrib_loss
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv

from sb3_flowsac import FlowSAC, load_policy, save_policy
from sb3_flowsac.algorithm.critics import BatchRenormCritic, LayerNormCritic, NetworkCritic
from sb3_flowsac.algorithm.critics.quantiles import pool, quantile_huber_loss

TQC = {"n_quantiles": 7, "top_quantiles_to_drop_per_net": 2}


def test_the_loss_is_that_of_sb3_contrib():
    quantiles, targets = 3 * torch.randn(2, 16, 7), 3 * torch.randn(16, 10)
    theirs = contrib_loss(quantiles.transpose(0, 1), targets.unsqueeze(1), sum_over_quantiles=False)
    torch.testing.assert_close(quantile_huber_loss(quantiles, targets), theirs)


def test_quantile_regression_finds_quantiles():
    """In units in which Huber's loss is nearly linear."""
    samples = 1000.0 * torch.randn(1, 20_000)
    quantiles = torch.zeros(1, 1, 5, requires_grad=True)
    optimizer = torch.optim.Adam([quantiles], lr=30.0)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 30.0 * (1 - step / 300)
        optimizer.zero_grad()
        quantile_huber_loss(quantiles, samples).backward()
        optimizer.step()
    expected = torch.quantile(samples[0], torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]))
    torch.testing.assert_close(quantiles[0, 0].detach(), expected, rtol=0.0, atol=10.0)


def test_a_pool_drops_the_largest_of_all_critics():
    quantiles = torch.tensor([[[[5.0, 1.0, 3.0]]], [[[2.0, 9.0, 8.0]]]])  # two critics, one action of one state
    torch.testing.assert_close(pool(quantiles, 1), torch.tensor([[[1.0, 2.0, 3.0, 5.0]]]))
    torch.testing.assert_close(pool(quantiles, 0), torch.tensor([[[1.0, 2.0, 3.0, 5.0, 8.0, 9.0]]]))


@pytest.mark.parametrize("critic_class", [NetworkCritic, LayerNormCritic])
def test_the_error_is_that_of_tqc(critic_class):
    """Targets: pooled quantiles of the target's values of next actions, with their entropy, all actions together."""
    critic, target = (make_critic(critic_class, normalize_input=False, **TQC) for _ in range(2))
    transitions = random_transitions()
    found = critic.loss(target, transitions)
    targets = []
    for k in range(2):
        quantiles = target.quantiles(transitions.next_observations, transitions.next_actions[:, k : k + 1]).squeeze(2)
        kept = quantiles.transpose(0, 1).flatten(1).sort(dim=1).values[:, : 2 * 5]
        targets.append(transitions.rewards + 0.9 * (kept + transitions.next_bonuses[:, k : k + 1]))
    now = critic.quantiles(transitions.observations, transitions.actions.unsqueeze(1)).squeeze(2)
    targets = torch.cat(targets, 1).unsqueeze(1).detach()
    expected = contrib_loss(now.transpose(0, 1), targets, sum_over_quantiles=False)
    torch.testing.assert_close(found.loss, expected)
    torch.testing.assert_close(found.q_value, now.mean())
    assert torch.autograd.grad(found.loss, next(critic.parameters()))[0].any()


@pytest.mark.parametrize("critic_class", [NetworkCritic, LayerNormCritic, BatchRenormCritic])
@pytest.mark.parametrize("kwargs", [{}, TQC])
def test_values_of_many_actions_are_those_of_one_after_another(critic_class, kwargs):
    critic = make_critic(critic_class, **kwargs)
    obs, actions = torch.randn(5, 3), torch.randn(5, 4, 2)
    features = critic.features(obs)
    many = critic.value(features, actions)
    one_by_one = torch.cat([critic.value(features, actions[:, k : k + 1]) for k in range(4)], dim=1)
    torch.testing.assert_close(many, one_by_one)
    with torch.no_grad():
        torch.testing.assert_close(many.detach(), critic.value(features, actions))
    means = critic.q_values(features, actions)
    assert means.shape == (2, 5, 4)
    torch.testing.assert_close(means[..., 0], critic(obs, actions[:, 0]))
    torch.testing.assert_close(many, means.mean(0) if kwargs else means.amin(0))  # TQC's actor drops no quantiles


def test_quantiles_of_a_joint_pass_are_those_of_tqc():
    critic, transitions = make_critic(BatchRenormCritic, **TQC), random_transitions()
    rows = [torch.cat([transitions.observations, transitions.actions], dim=1)]
    rows += [torch.cat([transitions.next_observations, transitions.next_actions[:, k]], dim=1) for k in range(2)]
    hidden = torch.cat(rows).expand(2, -1, -1)
    for i, layer in enumerate(critic.layers):
        hidden = F.relu(hidden) if i else hidden
        hidden = (hidden - hidden.mean(1, keepdim=True)) / (hidden.var(1, keepdim=True) + layer.norm.eps).sqrt()
        hidden = hidden @ layer.weight + layer.bias
    now, *following = hidden.transpose(0, 1).chunk(3)
    targets = [
        transitions.rewards + 0.9 * (next_q.flatten(1).sort(1).values[:, :10] + transitions.next_bonuses[:, k : k + 1])
        for k, next_q in enumerate(following)
    ]
    expected = contrib_loss(now, torch.cat(targets, 1).unsqueeze(1).detach(), sum_over_quantiles=False)
    torch.testing.assert_close(critic.loss(critic, transitions).loss, expected)


def test_layers_are_residual_and_normalised():
    critic = make_critic(LayerNormCritic, net_arch=[16, 16, 8], normalize_input=False)
    obs, actions = torch.randn(5, 3), torch.randn(5, 2)

    def layer(i, member, x):
        return x @ critic.layers[i].weight[member] + critic.layers[i].bias[member, 0]

    for member, value in enumerate(critic(obs, actions)):
        hidden = layer(0, member, torch.cat([obs, actions], dim=1))
        hidden = hidden + layer(1, member, F.relu(F.layer_norm(hidden, (16,))))
        hidden = layer(2, member, F.relu(F.layer_norm(hidden, (16,))))  # of another size: no sum
        expected = layer(3, member, F.relu(F.layer_norm(hidden, (8,)))).squeeze(-1)
        torch.testing.assert_close(value, expected)


def test_an_output_as_wide_as_the_last_layer_is_no_sum():
    critic = make_critic(LayerNormCritic, net_arch=[7], **TQC)
    with torch.no_grad():
        critic.layers[-1].weight.zero_()
        critic.layers[-1].bias.zero_()
    assert not critic(torch.randn(5, 3), torch.randn(5, 2)).any()


class Negative(NetworkCritic):
    def q_values(self, features, actions):
        return -super().q_values(features, actions).abs()


class Mean(NetworkCritic):
    def reduce(self, q_values):
        return q_values.mean(0)


class Halved(NetworkCritic):
    def value(self, features, actions):
        return 0.5 * super().value(features, actions)


@pytest.mark.parametrize("critic_class", [Negative, Mean, Halved])
def test_a_subclass_may_redefine_what_values_are(critic_class):
    """The values that learn and their targets are its own."""
    critic, target = (make_critic(critic_class, normalize_input=True) for _ in range(2))
    batch = random_transitions()
    found = critic.loss(target, batch)
    next_values = target.value(target.features(batch.next_observations), batch.next_actions)
    targets = batch.rewards + 0.9 * (next_values + batch.next_bonuses).mean(1, keepdim=True)
    errors = critic(batch.observations, batch.actions) - targets.T
    torch.testing.assert_close(found.loss, 0.5 * errors.square().mean(1).sum())


class Zero(BatchRenormCritic):
    def reduce(self, q_values):
        return torch.zeros_like(q_values[0])


def test_a_joint_pass_takes_what_a_subclass_reduces_to():
    zero, plain = make_critic(Zero), make_critic(BatchRenormCritic)
    plain.load_state_dict(zero.state_dict())
    batch = random_transitions()._replace(next_bonuses=torch.zeros(32, 2))
    expected = plain.loss(plain, batch._replace(discounts=torch.zeros(32, 1)))
    torch.testing.assert_close(zero.loss(zero, batch), expected)


@pytest.mark.parametrize("critic_class", [NetworkCritic, LayerNormCritic, BatchRenormCritic])
def test_normalised_input_follows_the_batches_alone(critic_class):
    """In units of the observations that differ by far, values of a critic that has seen them do not."""
    critic = make_critic(critic_class, normalize_input=True)
    scale = torch.tensor([1e3, 1.0, 1e-3])
    transitions = random_transitions(batch=4000)
    transitions = transitions._replace(observations=transitions.observations * scale + 5.0 * scale)
    critic.loss(critic, transitions)
    torch.testing.assert_close(critic.norm.mean / scale, torch.full((3,), 5.0), rtol=0.02, atol=0.0)
    mean = critic.norm.mean.clone()
    features = critic.features(transitions.observations)
    assert torch.equal(mean, critic.norm.mean)
    torch.testing.assert_close(features[:, :2].std(0), torch.ones(2), rtol=0.02, atol=0.0)


@pytest.mark.parametrize(
    ("critic", "critic_kwargs"),
    [("layer_norm", {}), ("layer_norm", TQC), ("network", {**TQC, "normalize_input": True}), ("batch_renorm", TQC)],
)
def test_training_saving_and_loading(make_model, tmp_path, critic, critic_kwargs):
    kwargs = {"critic": critic, "critic_kwargs": critic_kwargs, "n_action_candidates": 4}
    model = make_model("Pendulum-v1", policy_kwargs=kwargs, policy_delay=2).learn(60)
    model.save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", env=model.get_env(), device="cpu")
    state = loaded.policy.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.policy.state_dict().items())
    observation = model.observation_space.sample()
    actions = [m.predict(observation, deterministic=True)[0] for m in (model, loaded)]
    assert np.array_equal(*actions)
    loaded.learn(40)
    assert all(parameter.isfinite().all() for parameter in loaded.policy.parameters())


EVERY_NETWORK = pytest.mark.parametrize("critic", ["network", "layer_norm", "batch_renorm"])


@EVERY_NETWORK
def test_a_stopped_run_with_running_statistics_resumes_as_if_it_had_not_stopped(tmp_path, critic):
    policy_kwargs = {"critic": critic, "critic_kwargs": {**TQC, "normalize_input": True}, "n_acting_candidates": 2}
    uninterrupted = everything(small(policy_kwargs=policy_kwargs).learn(TOTAL))
    stop_at(33, small(policy_kwargs=policy_kwargs), tmp_path)
    scramble()
    assert_same(everything(resume(small(policy_kwargs=policy_kwargs), tmp_path)), uninterrupted)


@EVERY_NETWORK
@pytest.mark.parametrize("shared", [False, True])
def test_hindsight_over_several_environments(make_model, tmp_path, critic, shared):
    env = make_vec_env(lambda: BitFlippingEnv(n_bits=4, continuous=True), n_envs=2)
    kwargs = {"critic": critic, "critic_kwargs": {**TQC, "normalize_input": True}, "share_features_extractor": shared}
    model = make_model(env, "MultiInputPolicy", policy_kwargs=kwargs, replay_buffer_class=HerReplayBuffer).learn(60)
    assert model.critic.norm.n_updates == model.critic_target.norm.n_updates == model._n_updates > 0
    assert torch.equal(model.critic.norm.mean, model.critic_target.norm.mean)
    save_policy(model.policy, tmp_path)
    observation = model.observation_space.sample()
    actions = [p.predict(observation, deterministic=True)[0] for p in (model.policy, load_policy(tmp_path, "cpu"))]
    assert np.array_equal(*actions)


@pytest.mark.parametrize(
    ("critic_kwargs", "words"),
    [
        ({"n_quantiles": 0}, "n_quantiles"),
        ({"n_quantiles": 10**9}, "n_quantiles"),
        ({"n_quantiles": 5, "top_quantiles_to_drop_per_net": 5}, "top_quantiles_to_drop_per_net.* 4"),
        ({"top_quantiles_to_drop_per_net": 1}, "top_quantiles_to_drop_per_net.*n_quantiles"),
        ({"normalize_input": 1}, "normalize_input"),
    ],
)
def test_wrong_arguments_are_named(make_model, critic_kwargs, words):
    with pytest.raises(ValueError, match=words):
        make_model("Pendulum-v1", policy_kwargs={"critic": "network", "critic_kwargs": critic_kwargs})
