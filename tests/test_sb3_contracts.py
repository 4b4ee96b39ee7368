"""What SB3's own tests ask of SAC, asked of FlowSAC, and small inputs that once failed."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

OBS = np.array([[0.6, 0.8, 0.3], [-1.0, 0.0, -2.0]], np.float32)


class SpectralNorm(BaseFeaturesExtractor):
    """A layer with a buffer of its own, the vector u of power iteration, and a counter of integers."""

    def __init__(self, space):
        super().__init__(space, 8)
        self.net = nn.utils.spectral_norm(nn.Linear(3, 8))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, observations):
        self.calls += self.training
        return self.net(observations)


@pytest.mark.parametrize("policy", ["MlpPolicy", "CnnPolicy"])
def test_policy_and_actor_predict_alike_after_save_and_load(make_model, tmp_path, policy):
    """SB3's test_save_load_policy: also with parameters set at random."""
    env = "Pendulum-v1" if policy == "MlpPolicy" else FakeImageEnv(screen_height=40, screen_width=40, discrete=False)
    model = make_model(env, policy, policy_kwargs={"features_extractor_kwargs": {}}, buffer_size=100).learn(40)
    observations = np.concatenate([model.env.step([model.action_space.sample()])[0] for _ in range(5)])
    random = {name: torch.rand_like(value) for name, value in model.policy.state_dict().items()}
    model.policy.load_state_dict(random)
    model.policy.save(tmp_path / "policy.pkl")
    model.policy.actor.save(tmp_path / "actor.pkl")
    policy, actor = type(model.policy).load(tmp_path / "policy.pkl"), type(model.actor).load(tmp_path / "actor.pkl")
    expected = model.policy.predict(observations, deterministic=True)[0]
    for each in (model.actor, policy, actor):
        np.testing.assert_array_equal(each.predict(observations, deterministic=True)[0], expected)


@pytest.mark.parametrize("net_arch", [[64], [256, 256]])
def test_learning_goes_on_from_parameters_set_at_random(make_model, net_arch):
    """SB3's test_save_load of HER: u lies so far out that tanh's real slope there is exp(-1e6)."""
    model = make_model("Pendulum-v1", policy_kwargs={"net_arch": net_arch}).learn(30)
    random = {name: torch.rand_like(value) for name, value in model.policy.state_dict().items()}
    model.policy.load_state_dict(random)
    model.learn(60, reset_num_timesteps=False)
    assert model._n_updates == 70 and all(p.isfinite().all() for p in model.policy.parameters())
    assert abs(model.logger.name_to_value["train/log_prob"]) < 100


def test_a_shared_extractor_moves_in_the_first_gradient_step_and_its_target_follows_tau(make_model):
    """SB3's test_feature_extractor_target_net."""
    kwargs = {"features_extractor_kwargs": {"features_dim": 8}, "share_features_extractor": True, "critic": "network"}
    env = FakeImageEnv(screen_height=40, screen_width=40, discrete=False)
    rhythm = {"policy_delay": 1, "learning_starts": 16}
    model = make_model(env, "CnnPolicy", policy_kwargs=kwargs, tau=0.0, buffer_size=250, **rhythm)
    model.learn(20)
    assert model.policy.actor.features_extractor is model.policy.critic.features_extractor

    def weights(network):
        return torch.cat([p.detach().flatten() for p in network.features_extractor.parameters()])

    shared, target = weights(model.actor), weights(model.critic_target)
    model.train(1, 16)
    assert not torch.equal(weights(model.actor), shared) and torch.equal(weights(model.critic_target), target)
    model.tau = 1.0
    model.train(1, 16)
    torch.testing.assert_close(weights(model.critic_target), weights(model.critic))


def test_every_buffer_follows(make_model):
    """Of the target critic: those of spectral norm and of integers, too. The actor that acts has its own alone."""
    model = make_model(
        "Pendulum-v1", policy_delay=2, policy_kwargs={"features_extractor_class": SpectralNorm, "critic": "network"}
    ).learn(60)
    found, expected = (dict(network.named_buffers()) for network in (model.critic_target, model.critic))
    assert {"features_extractor.net.weight_u", "features_extractor.calls"} <= expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert expected["features_extractor.calls"] > 0


@pytest.mark.parametrize("limit", [(2e38, np.float32), (4e4, np.float16)])
def test_a_box_too_wide_for_its_precision_is_refused(make_model, limit):
    bound, dtype = limit

    class Wide(gym.Env):
        observation_space = spaces.Box(-1, 1, (3,))
        action_space = spaces.Box(-bound, bound, (2,), dtype)

    with pytest.raises(ValueError, match=r"action_space.*width"):
        make_model(Wide())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_observations_that_are_not_finite_are_refused(make_model, value):
    model, obs = make_model("Pendulum-v1"), OBS.copy()
    obs[1, 2] = value
    for ask in (
        model.predict,
        model.policy.sample,
        model.policy.entropy,
        lambda o: model.policy.log_prob(o, OBS[:, :1]),
    ):
        with pytest.raises(ValueError, match=r"observation\[1, 2\]"):
            ask(obs)


@pytest.mark.parametrize("squashed", [True, False])
def test_batches_of_no_state_have_no_rows(make_model, squashed):
    model, empty = make_model("Pendulum-v1", policy_kwargs={"squash_output": squashed}), OBS[:0]
    assert all(model.predict(empty, deterministic=d)[0].shape == (0, 1) for d in (True, False))
    assert [tuple(part.shape) for part in model.policy.sample(empty, 5)] == [(0, 5, 1), (0, 5)]
    assert model.policy.log_prob(empty, OBS[:0, :1]).shape == model.policy.entropy(empty).shape == (0,)


@pytest.mark.parametrize("parameters_of", ["actor", "policy"])
def test_cloning_by_likelihood_is_what_predicts(make_model, parameters_of):
    """Maximising ``log_prob`` over the actor's or the policy's parameters moves predictions; loading does, too."""
    rng = np.random.default_rng(0)
    observations = rng.uniform(-1, 1, (256, 3)).astype(np.float32)
    actions = (1.6 * observations[:, :1] + 0.1 * rng.standard_normal((256, 1))).astype(np.float32)
    model = make_model("Pendulum-v1", policy_kwargs={"net_arch": [64]})

    def error(of):
        return float(np.mean((of.predict(observations, deterministic=True)[0] - actions) ** 2))

    optimizer = torch.optim.Adam(getattr(model, parameters_of).parameters(), model.learning_rate)
    first = error(model)
    model.policy.set_training_mode(True)
    for _ in range(300):
        optimizer.zero_grad()
        (-model.policy.log_prob(observations, actions).mean()).backward()
        optimizer.step()
    assert error(model) < 0.05 < first
    other = make_model("Pendulum-v1", policy_kwargs={"net_arch": [64]})
    other.actor.load_state_dict(model.actor.state_dict())
    assert error(other) == error(model)
