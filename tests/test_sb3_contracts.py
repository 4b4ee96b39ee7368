"""What SB3's own tests ask of SAC, asked of FlowSAC, and small inputs that once failed."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.envs import FakeImageEnv, IdentityEnvBox
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_flowsac import FlowSAC

OBS = np.array([[0.6, 0.8, 0.3], [-1.0, 0.0, -2.0]], np.float32)


class SpectralNorm(BaseFeaturesExtractor):
    """A layer with buffers of its own, the vectors of power iteration, and a counter of integers."""

    def __init__(self, space):
        super().__init__(space, 8)
        self.net = nn.utils.spectral_norm(nn.Linear(3, 8))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, observations):
        self.calls += self.training
        return self.net(observations)


class OwnNorm(BaseFeaturesExtractor):
    """Observations minus their mean so far, by a buffer whose name is not one of torch's."""

    def __init__(self, space):
        super().__init__(space, 3)
        self.register_buffer("centre", torch.zeros(3))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, observations):
        if self.training:
            self.calls += 1
            self.centre += (observations.mean(0) - self.centre) / self.calls
        return observations - self.centre


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


@pytest.mark.parametrize("shared", [True, False])
def test_extractors_move_in_the_first_gradient_step_and_the_targets_follows_tau(make_model, shared):
    """SB3's test_features_extractor_target_net."""
    kwargs = {"features_extractor_kwargs": {"features_dim": 8}, "share_features_extractor": shared, "critic": "network"}
    env = FakeImageEnv(screen_height=40, screen_width=40, discrete=False)
    rhythm = {"policy_delay": 1, "learning_starts": 16, "learning_rate": 1e-3}
    model = make_model(env, "CnnPolicy", policy_kwargs=kwargs, tau=0.0, buffer_size=250, **rhythm)
    model.learn(20)
    assert (model.policy.actor.features_extractor is model.policy.critic.features_extractor) == shared

    def weights(network):
        return torch.cat([p.detach().flatten() for p in network.features_extractor.parameters()])

    actor, critic, target = map(weights, (model.actor, model.critic, model.critic_target))
    assert torch.equal(actor, critic) == shared and not torch.equal(critic, target)
    model.train(1, 16)
    assert torch.equal(weights(model.critic_target), target)
    assert not torch.equal(weights(model.actor), actor) and not torch.equal(weights(model.critic), critic)
    model.tau = 1.0
    model.train(1, 16)
    torch.testing.assert_close(weights(model.critic_target), weights(model.critic))


@pytest.mark.parametrize("handled", [True, False])
def test_a_time_limit_is_no_end(make_model, handled):
    """SB3's test_infinite_horizon: a reward of 1 in every step, episodes cut after 8, gamma 0.98: the value is 50."""
    env = gym.wrappers.TimeLimit(Endless(), 8)
    learning = {"learning_rate": 0.01, "learning_starts": 0, "tau": 0.5, "ent_coef": 1e-4}
    learning["policy_delay"] = 10  # the actions change nothing
    buffer = {"handle_timeout_termination": handled}
    model = make_model(
        env, policy_kwargs={"n_critics": 1}, gamma=0.98, replay_buffer_kwargs=buffer, batch_size=64, **learning
    ).learn(600)
    states = model.policy.obs_to_tensor(np.arange(4))[0]
    values = model.critic(states, model.actor(states)).detach()[0].numpy()
    assert (np.abs(values - 50.0) < 2.0).all() if handled else (values < 40.0).all()


class Endless(gym.Env):
    """Four states in turn, whatever is done."""

    observation_space, action_space = spaces.Discrete(4), spaces.Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = 0
        return self.state, {}

    def step(self, action):
        self.state = (self.state + 1) % 4
        return self.state, 1.0, False, False, {}


def test_the_identity_is_learnt_in_few_steps():
    """SB3's test_identity, with SAC's budget there and its threshold: the action is within 0.5 of the observation."""
    env = IdentityEnvBox(eps=0.5)
    settings = {"learning_rate": 1e-3, "gamma": 0.95, "policy_kwargs": {"net_arch": [64, 64]}}
    model = FlowSAC("MlpPolicy", env, seed=0, device="cpu", **settings).learn(400)
    assert evaluate_policy(model, env, n_eval_episodes=20, warn=False)[0] >= 90.0


EXTRACTORS = {"of spectral norm": SpectralNorm, "of the user's": OwnNorm}


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_every_buffer_is_used_where_it_is_trained(make_model, extractor, tmp_path):
    """The target critic has the critic's; the actor that acts, also in numpy and after loading, the trained actor's."""
    kwargs = {"features_extractor_class": EXTRACTORS[extractor], "critic": "network"}
    model = make_model("Pendulum-v1", policy_delay=2, policy_kwargs=kwargs).learn(60)
    found, expected = (dict(network.named_buffers()) for network in (model.critic_target, model.critic))
    assert expected and all(torch.equal(found[name], value) for name, value in expected.items())
    for network in (model.actor, model.critic):
        assert network.features_extractor.calls > 0
    model.save(tmp_path / "model")
    before = {name: value.clone() for name, value in model.policy.named_buffers()}
    acting = model.actor.predict(OBS, deterministic=True)[0]  # SB3's way through torch
    for each in (model, model.policy, FlowSAC.load(tmp_path / "model", device="cpu")):
        np.testing.assert_allclose(each.predict(OBS, deterministic=True)[0], acting, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.policy.named_buffers())


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

    optimizer = torch.optim.Adam(getattr(model, parameters_of).parameters(), 2e-3)
    first = error(model)
    model.policy.set_training_mode(True)
    for _ in range(150):
        optimizer.zero_grad()
        (-model.policy.log_prob(observations, actions).mean()).backward()
        optimizer.step()
    assert error(model) < 0.05 < first
    other = make_model("Pendulum-v1", policy_kwargs={"net_arch": [64]})
    other.actor.load_state_dict(model.actor.state_dict())
    assert error(other) == error(model)
