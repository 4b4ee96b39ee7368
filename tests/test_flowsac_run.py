"""FlowSAC learns on, in every variant, with the options that SB3's off-policy algorithms share."""

import inspect
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import SimpleMultiObsEnv
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise, VectorizedActionNoise
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from sb3_flowsac import FlowPolicy, FlowSAC, HoldThenLinearSchedule
from sb3_flowsac.flow import make_flow
from sb3_flowsac.isfm import CurrentPolicy, Mixture, Proposal, SamplingDistribution, UniformBox


class Extractor(BaseFeaturesExtractor):
    """A user's own, with batch normalisation."""

    def __init__(self, observation_space, features_dim=6):
        super().__init__(observation_space, features_dim)
        self.net = nn.Sequential(nn.Linear(observation_space.shape[0], features_dim), nn.BatchNorm1d(features_dim))

    def forward(self, observations):
        return self.net(observations)


class Uphill(SamplingDistribution):
    """A user's own sampling distribution: latents N(c, 2^2 I), with c a small step along Q's gradient at 0."""

    def given(self, improvement, n):
        origin = torch.zeros(improvement.policy.batch_size, 1, improvement.policy.dim)
        return Around(0.01 * improvement.action_score(origin), improvement.policy.noise(n))


class Around(Proposal):
    def __init__(self, centre, noise):
        self.law, self.latents = torch.distributions.Normal(centre, 2.0), centre + 2.0 * noise

    def sample_with_log_prob(self):
        return self.latents, self.log_prob(self.latents)

    def log_prob(self, latents):
        return self.law.log_prob(latents).sum(-1)


def learn_and_check(model, steps=60):
    """Everything that should move has moved and is finite; predictions are valid actions."""
    before = [p.clone() for p in [*model.actor.parameters(), *model.critic.parameters()]]
    model.learn(steps)
    after = [*model.actor.parameters(), *model.critic.parameters()]
    assert all(p.isfinite().all() for p in [*after, *model.critic_target.parameters()])
    moved = [not torch.equal(a, b) for a, b in zip(after, before, strict=True)]
    assert np.mean(moved) > 0.9 and model._n_updates > 0
    obs = np.stack([model.observation_space.sample() for _ in range(5)])
    for deterministic in (True, False):
        actions, _ = model.predict(obs, deterministic=deterministic)
        assert all(model.action_space.contains(action) for action in actions)
    return model


VARIANTS = {
    "default": {},
    "unsquashed": {"policy_kwargs": {"squash_output": False, "log_std_init": -1.0}},
    "paper": {
        "policy_kwargs": {"base": "standard", "density": "trace"},
        "sampling_distribution": "policy",
        "actor_loss": "isfm",
        "min_effective_proposals": 1,
        "policy_delay": 1,
    },
    "mlp-field": {"policy_kwargs": {"field": "mlp", "ode_steps": 1}},
    "rk4": {"policy_kwargs": {"ode_solver": "rk4", "ode_grid_power": 2.0, "ode_steps": 1}},
    "heun": {"policy_kwargs": {"ode_solver": "heun"}},
    "euler": {"policy_kwargs": {"ode_solver": "euler"}},
    "one-critic": {"policy_kwargs": {"n_critics": 1}},
    "three-critics": {"policy_kwargs": {"n_critics": 3, "net_arch": {"pi": [8], "qf": [8, 8]}}},
    "quadratic": {"policy_kwargs": {"critic": "quadratic", "n_critics": 1, "squash_output": False}},
    "no-hidden-layer": {"policy_kwargs": {"net_arch": []}},
    "activation": {"policy_kwargs": {"activation_fn": nn.Tanh}},
    "optimizer": {"policy_kwargs": {"optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.01}}},
    "extractor": {
        "policy_kwargs": {"features_extractor_class": Extractor, "features_extractor_kwargs": {"features_dim": 5}}
    },
    "shared-extractor": {"policy_kwargs": {"features_extractor_class": Extractor, "share_features_extractor": True}},
    "alpha": {"ent_coef": 0.1},
    "auto-alpha": {"ent_coef": "auto_0.1", "target_entropy": -2.0},
    "uniform": {"sampling_distribution": "uniform"},
    "mixture": {"sampling_distribution": Mixture([CurrentPolicy(), UniformBox()], [0.5, 0.5])},
    "own-proposals": {"sampling_distribution": Uphill()},
    "own-proposals-in-a-mixture": {"sampling_distribution": Mixture([Uphill(), CurrentPolicy()], [0.5, 0.5])},
    "networks": {"policy_kwargs": {"critic": "network"}},
    "next-actions": {"n_next_actions": 3},
    "all-states": {"actor_batch_size": None},
    "target-interval": {"target_update_interval": 3, "policy_kwargs": {"critic": "network"}},
    "schedule": {"learning_rate": lambda progress: 1e-3 * progress},
    "episodes": {"train_freq": (1, "episode"), "gradient_steps": 4, "learning_starts": 0, "policy_delay": 2},
    "as-many-steps": {"train_freq": 4, "gradient_steps": -1},
    "memory": {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns_on(make_model, variant):
    steps = 210 if variant == "episodes" else 60
    learn_and_check(make_model("Pendulum-v1", **VARIANTS[variant]), steps)


def test_a_longer_run_with_default_networks_alone(make_model):
    model = learn_and_check(make_model("Pendulum-v1", batch_size=64), 150)
    assert model.num_timesteps == 150 and model._n_updates == 130


@pytest.mark.parametrize(
    ("train_freq", "gradient_steps", "updates"), [(1, 1, 40), (5, 2, 16), (5, -1, 40), ((4, "step"), 4, 40)]
)
def test_number_of_gradient_steps(make_model, train_freq, gradient_steps, updates):
    model = make_model("Pendulum-v1", train_freq=train_freq, gradient_steps=gradient_steps).learn(60)
    assert model._n_updates == updates


def test_training_once_an_episode(make_model):
    model = make_model("Pendulum-v1", train_freq=(2, "episode"), gradient_steps=3, learning_starts=0)
    model.learn(400)
    assert model._n_updates == 3  # after two episodes of 200 steps
    model = make_model("Pendulum-v1", train_freq=(1, "episode"), gradient_steps=-1, learning_starts=0).learn(200)
    assert model._n_updates == 200


@pytest.mark.parametrize("noise_class", [NormalActionNoise, OrnsteinUhlenbeckActionNoise])
def test_action_noise(make_model, noise_class):
    learn_and_check(make_model("Pendulum-v1", action_noise=noise_class(np.zeros(1), 0.1 * np.ones(1))))


def test_arguments_that_sac_has_seen_are_taken(make_model):
    """SAC writes ``use_sde`` into the dictionary that it is given."""
    shared = {"net_arch": [8]}
    SAC("MlpPolicy", "Pendulum-v1", buffer_size=10, policy_kwargs=shared)
    assert shared["use_sde"] is False
    assert make_model("Pendulum-v1", policy_kwargs=shared).policy_kwargs == {"net_arch": [8]}
    assert shared["use_sde"] is False
    with pytest.raises(ValueError, match=r"policy_kwargs\['use_sde'\]"):
        make_model("Pendulum-v1", policy_kwargs={"use_sde": True})


def test_noise_of_one_number_is_added_to_every_component(make_model):
    """As in SB3, whose tests do it with ten of them."""
    model = make_model("MultiGoal-v0", action_noise=NormalActionNoise(np.full(1, 5.0), np.zeros(1)), learning_starts=0)
    model.learn(10)
    np.testing.assert_array_equal(model.replay_buffer.actions[:10], np.ones((10, 1, 2)))  # at the bound, both of them


def test_several_environments_with_noise(make_model):
    env = make_vec_env("Pendulum-v1", n_envs=3)
    noise = VectorizedActionNoise(NormalActionNoise(np.zeros(1), 0.1 * np.ones(1)), 3)
    model = learn_and_check(make_model(env, action_noise=noise, gradient_steps=-1), 90)
    assert model.num_timesteps == 90 and model.replay_buffer.pos == 30


@pytest.mark.parametrize(
    ("noise", "found"),
    [
        (NormalActionNoise(np.zeros(2), np.ones(2)), r"Normal.* gives noise of shape \(2,\); an action has .* \(1,\)"),
        (NormalActionNoise(np.zeros((1, 1)), np.ones((1, 1))), r"gives noise of shape \(1, 1\)"),
        (OrnsteinUhlenbeckActionNoise(np.zeros(3), np.ones(3)), r"gives noise of shape \(3,\)"),
        (VectorizedActionNoise(NormalActionNoise(np.zeros(2), np.ones(2)), 1), r"gives noise of shape \(2,\)"),
        (NormalActionNoise(np.zeros(2), np.ones(3)), "cannot be drawn: .*broadcast"),
    ],
)  # fmt: skip
def test_noise_of_another_shape_is_refused_at_once(make_model, noise, found):
    state = np.random.get_state()[1].copy()
    with pytest.raises(ValueError, match=f"^action_noise=.*{found}"):
        make_model("Pendulum-v1", action_noise=noise)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_noise_for_another_number_of_environments_is_refused(make_model):
    noise = VectorizedActionNoise(NormalActionNoise(np.zeros(1), np.ones(1)), 2)
    model = make_model(make_vec_env("Pendulum-v1", n_envs=3), action_noise=noise)
    with pytest.raises(ValueError, match="action_noise is for 2 environments, there are 3"):
        model.learn(10)


def test_a_users_own_replay_buffer(make_model):
    class Counting(ReplayBuffer):
        samples = 0

        def sample(self, *args, **kwargs):
            self.samples += 1
            return super().sample(*args, **kwargs)

    model = learn_and_check(make_model("Pendulum-v1", replay_buffer_class=Counting))
    assert model.replay_buffer.samples == model._n_updates == 40


@pytest.mark.parametrize("shared", [True, False])
def test_a_features_extractor_is_shared_or_not(make_model, shared):
    kwargs = {"features_extractor_class": Extractor, "share_features_extractor": shared, "critic": "network"}
    model = make_model("Pendulum-v1", policy_kwargs=kwargs)
    assert (model.actor.features_extractor is model.critic.features_extractor) == shared
    assert model.critic_target.features_extractor is not model.critic.features_extractor
    trained = [p for group in model.critic.optimizer.param_groups for p in group["params"]]
    extractor = list(model.critic.features_extractor.parameters())
    assert any(p is q for p in trained for q in extractor) == (not shared)
    if shared:
        before = [p.clone() for p in extractor]
        model.learn(60)
        assert not any(torch.equal(p, q) for p, q in zip(before, extractor, strict=True))


def test_learning_rate_follows_its_schedule(make_model):
    model = make_model("Pendulum-v1", learning_rate=lambda progress: 1e-3 * progress, ent_coef="auto").learn(50)
    expected = 1e-3 * (1 - 50 / 50)
    for optimizer in (model.actor.optimizer, model.critic.optimizer, model.entropy_coefficient.optimizer):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, abs=1e-3 / 50 + 1e-12)


def test_the_default_learning_rate_falls_in_the_last_fifth(make_model):
    model, rates = make_model("Pendulum-v1"), {}
    model.learn(40, callback=lambda found, _: rates.update({found["self"].num_timesteps: rate_of(model)}) or True)
    # A step's rate is set by the gradient step before it
    assert rates[15] == rates[33] == 1e-3
    assert rates[37] == pytest.approx(1e-3 * 5 * (1 - 36 / 40)) and rate_of(model) == 0.0


def rate_of(model):
    (rate,) = {group["lr"] for part in (model.actor, model.critic) for group in part.optimizer.param_groups}
    return rate


@pytest.mark.parametrize(
    ("arguments", "values"),
    [((2.0, 0.5), (2.0, 2.0, 1.0, 0.0, 0.0)), ((2.0, 0.0), (2.0, 1.0, 0.5, 0.0, 0.0)), ((2.0, 1.0), (2.0,) * 5)],
    ids=["half", "never held", "constant"],
)
def test_a_schedule_holds_its_value_and_then_falls(arguments, values):
    schedule = HoldThenLinearSchedule(*arguments)
    assert [schedule(left) for left in (1.0, 0.5, 0.25, 0.0, -0.1)] == list(values)


@pytest.mark.parametrize(
    ("arguments", "named"), [((-1.0,), "value"), ((1.0, 1.5), "hold_fraction"), ((1.0, "a"), "hold")]
)
def test_a_schedule_that_cannot_be_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        HoldThenLinearSchedule(*arguments)


def test_a_learning_rate_that_has_fallen_is_said(make_model):
    """Calls of learn that go on share one run, as in all of SB3."""
    model = make_model("Pendulum-v1").learn(0).learn(80)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(20, reset_num_timesteps=False)  # four fifths have been in the first call
    with pytest.warns(UserWarning, match=r"learning_rate starts at 0.0005 .* 111 steps, 100 .*learning_rate=0.001"):
        model.learn(11, reset_num_timesteps=False)


def test_a_rollout_beyond_the_end_of_the_run_learns_at_the_last_rate(make_model):
    """A line that reaches 0 at the end would be negative there, and Adam would go uphill."""
    model = make_model(make_vec_env("Pendulum-v1", n_envs=8), learning_rate=lambda left: 1e-3 * left, train_freq=5)
    model.learn(60)
    assert model.num_timesteps == 80 and model.actor.optimizer.param_groups[0]["lr"] == 0.0


def test_a_rate_that_becomes_negative_is_refused(make_model):
    model = make_model("Pendulum-v1", learning_rate=lambda left: 1e-3 * (left - 0.5))
    with pytest.raises(ValueError, match=r"learning_rate\(0\.\d+\) must be"):
        model.learn(60)


def test_training_continues_where_it_stopped(make_model):
    model = make_model("Pendulum-v1").learn(40)
    model.learn(30, reset_num_timesteps=False)
    assert model.num_timesteps == 70 and model._n_updates == 50
    model.learn(30)
    assert model.num_timesteps == 30 and model.replay_buffer.pos == 100


def test_a_long_vector_of_actions(make_model):
    class Wide(gym.Env):
        observation_space = gym.spaces.Box(-1, 1, (4,))
        action_space = gym.spaces.Box(
            np.linspace(-3, -1, 24, dtype=np.float32), np.linspace(1, 5, 24, dtype=np.float32)
        )

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.observation_space.sample(), {}

        def step(self, action):
            assert self.action_space.contains(action)
            return (
                self.observation_space.sample(),
                -float(np.square(action).sum()),
                False,
                bool(self.np_random.random() < 0.1),
                {},
            )

    learn_and_check(make_model(Wide()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ent_coef", -0.1),
        ("ent_coef", 0.0),
        ("ent_coef", "automatic"),
        ("ent_coef", "auto_-1"),
        ("ent_coef", "auto_0"),
        ("ent_coef", "fast"),
        ("target_entropy", "low"),
        ("target_update_interval", 0),
        ("n_proposals", 0),
        ("n_proposals", 1),
        ("n_proposals", 2.5),
        ("n_proposals", "auto"),
        ("n_proposals", "8"),
        ("n_next_actions", 0),
        ("actor_batch_size", 0),
        ("policy_delay", 0),
        ("isfm_interval", 0),
        ("min_effective_proposals", 0.5),
        ("actor_loss", "sac"),
        ("sampling_distribution", "langevin"),
    ],
)
def test_arguments_out_of_range_are_named(make_model, name, value):
    with pytest.raises(ValueError, match=name):
        make_model("Pendulum-v1", **{name: value})


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"use_sde": True, "sde_sample_freq": 4}, "use_sde, sde_sample_freq: "),
        ({"use_sde_at_warmup": True}, "use_sde_at_warmup: "),
        ({"policy_kwargs": {"use_sde": True}}, r"policy_kwargs\['use_sde'\]: "),
        (
            {"policy_kwargs": {"use_expln": True, "clip_mean": 2.0}},
            r"policy_kwargs\['use_expln'\], policy_kwargs\['clip_mean'\]: ",
        ),
    ],
    ids=["arguments", "warm-up", "policy", "policy-details"],
)
def test_gsde_is_no_feature_and_what_to_do_instead(make_model, kwargs, named):
    with pytest.raises(ValueError, match=f"^{named}.*action_noise"):
        make_model("Pendulum-v1", **kwargs)


@pytest.mark.parametrize(
    ("sampling_distribution", "n_proposals"),
    [("newton", 2), ("defensive", 1), (Mixture([UniformBox()] * 14, [1 / 14] * 14), 12)],
)
def test_proposals_that_cannot_be_shared_out_are_refused_before_training(
    make_model, sampling_distribution, n_proposals
):
    with pytest.raises(ValueError, match="n_proposals"):
        make_model("Pendulum-v1", sampling_distribution=sampling_distribution, n_proposals=n_proposals)


def test_every_argument_of_sac_is_one_of_flowsac():
    """In SAC's order and with its defaults but for the rate, the warm-up and the first alpha; a flow has no gSDE."""
    ours, theirs = (dict(inspect.signature(c.__init__).parameters) for c in (FlowSAC, SAC))
    assert [name for name in ours if name in theirs] == list(theirs)
    different = [name for name in theirs if ours[name].default != theirs[name].default]
    expected = {"learning_rate": HoldThenLinearSchedule(1e-3), "learning_starts": "auto", "ent_coef": "auto_0.1"}
    assert {name: ours[name].default for name in different} == expected
    ours, flow, theirs = (inspect.signature(f).parameters for f in (FlowPolicy, make_flow, SACPolicy))
    assert theirs.keys() - ours.keys() - flow.keys() == {"use_sde", "use_expln", "clip_mean"}


@pytest.mark.parametrize(
    ("env", "policy", "kwargs", "message"),
    [
        # Episodes that time out need the next observation
        ("Pendulum-v1", "MlpPolicy", {}, "optimize_memory_usage = True and handle_timeout_termination = True"),
        ("Pendulum-v1", "MlpPolicy", {"n_steps": 3}, "n_steps=3 must be 1 with optimize_memory_usage=True"),
        (
            SimpleMultiObsEnv(discrete_actions=False),
            "MultiInputPolicy",
            {},
            "DictReplayBuffer does not support optimize_memory_usage",
        ),
    ],
    ids=["time-limit", "n-step", "dict"],
)
def test_memory_is_saved_under_sb3s_conditions_alone(make_model, env, policy, kwargs, message):
    with pytest.raises((ValueError, AssertionError), match=message):
        make_model(env, policy, optimize_memory_usage=True, **kwargs)


def test_training_by_episodes_needs_a_single_environment(make_model):
    with pytest.raises(ValueError, match=r"train_freq.*single environment"):
        make_model(make_vec_env("Pendulum-v1", n_envs=2), train_freq=(1, "episode"))
