"""Observations and actions of every kind that SB3 knows, and clear errors for those that do not fit."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import FakeImageEnv, IdentityEnv, SimpleMultiObsEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecTransposeImage

from sb3_flowsac import FlowPolicy, FlowSAC

ACTIONS = spaces.Box(np.array([-1.0, 0.5], np.float32), np.array([2.0, 0.75], np.float32))


class Random(gym.Env):
    """Random observations of a space, a reward for large actions, short episodes."""

    def __init__(self, observation_space, action_space=ACTIONS):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(
            np.asarray(action, self.action_space.dtype)
        )  # SB3 unscales to single precision
        self.steps += 1
        return self.observation_space.sample(), float(np.sum(action)), False, self.steps == 7, {}


SPACES = {
    "box": spaces.Box(-1, 1, (3,)),
    "matrix": spaces.Box(-5, 5, (2, 3)),
    "double": spaces.Box(-1, 1, (3,), np.float64),
    "unbounded": spaces.Box(-np.inf, np.inf, (3,)),
    "discrete": spaces.Discrete(4),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
    "binary-matrix": spaces.MultiBinary((3, 2)),
}


@pytest.mark.parametrize("policy", ["FlowPolicy", "MlpPolicy"])
@pytest.mark.parametrize("name", SPACES)
def test_observations(make_model, name, policy):
    model = make_model(Random(SPACES[name]), policy).learn(40)
    obs = SPACES[name].sample()
    action, _ = model.predict(obs)
    assert ACTIONS.contains(action)
    actions, log_prob = model.policy.sample(obs, 3)
    assert actions.shape == (1, 3, 2) and log_prob.isfinite().all()


@pytest.mark.parametrize(
    "action_space",
    [
        spaces.Box(-1, 1, (1,)),
        spaces.Box(-3, 1, (2, 2)),
        spaces.Box(0, 100, (3,)),
        spaces.Box(-1, 1, (2,), np.float64),
        spaces.Box(-2, 1, (2,), np.float16),
    ],
    ids=["one", "matrix", "wide", "double", "half"],
)
@pytest.mark.parametrize("squashed", [True, False], ids=["squashed", "unsquashed"])
def test_actions(make_model, action_space, squashed):
    env = Random(SPACES["box"], action_space)
    model = make_model(env, policy_kwargs={"squash_output": squashed}).learn(40)
    stored = model.replay_buffer.actions[: model.replay_buffer.pos]
    assert np.abs(stored).max() <= 1.0 and stored.shape[-1] == int(np.prod(action_space.shape))
    obs = env.observation_space.sample()
    for deterministic in (True, False):
        action, _ = model.predict(obs, deterministic=deterministic)
        assert action_space.contains(action.astype(action_space.dtype))
    actions, log_prob = model.policy.sample(obs, 3)
    assert actions.dtype == log_prob.dtype == model.policy.log_prob(obs, actions).dtype == torch.float32


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        (spaces.Box(-5, 5, (1,), np.int64), "floating-point"),
        (spaces.Box(-np.inf, np.inf, (1,)), "finite bounds"),
        (spaces.Box(np.zeros(2, np.float32), np.array([1, 0], np.float32)), "the lower below the upper"),
        (spaces.Discrete(3), "be a Box"),
        (spaces.Box(1e8, 1e8 + 1, (1,), np.float64), "could not be told apart.*RescaleAction"),
        (spaces.Box(1e6, 1e6 + 1, (1,)), "could not be told apart"),
    ],
    ids=["integers", "infinite", "empty", "discrete", "collapsed", "coarse"],
)
def test_a_policy_of_no_use_is_refused(space, reason):
    with pytest.raises(ValueError, match=f"^action_space must .*{reason}"):
        FlowPolicy(spaces.Box(-1, 1, (2,)), space, lambda _: 1e-3)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "apart"])
def test_dictionaries(make_model, shared):
    env = SimpleMultiObsEnv(random_start=True, discrete_actions=False)
    kwargs = {"share_features_extractor": shared}
    model = make_model(env, "MultiInputPolicy", kwargs, buffer_size=200).learn(40)
    assert isinstance(model.replay_buffer, DictReplayBuffer) and model._n_updates == 20
    obs, _ = env.reset(seed=0)
    actions, log_prob = model.policy.sample(obs, 4)
    torch.testing.assert_close(model.policy.log_prob(obs, actions), log_prob, rtol=0, atol=1e-3)


def test_dictionaries_over_several_environments(make_model):
    env = make_vec_env(lambda: SimpleMultiObsEnv(discrete_actions=False), n_envs=2)
    model = make_model(VecFrameStack(env, n_stack=2), "MultiInputPolicy", buffer_size=200).learn(40)
    assert model.num_timesteps == 40


def image_env(channels_last=True):
    return FakeImageEnv(
        screen_height=36, screen_width=36, n_channels=1, channel_first=not channels_last, discrete=False
    )


@pytest.mark.parametrize("channels_last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "apart"])
def test_images(make_model, channels_last, shared, tmp_path):
    kwargs = {"share_features_extractor": shared, "features_extractor_kwargs": {"features_dim": 16}}
    model = make_model(image_env(channels_last), "CnnPolicy", kwargs, buffer_size=100, batch_size=4).learn(25)
    assert isinstance(model.get_env(), VecTransposeImage) == channels_last and model._n_updates == 5
    obs = image_env(channels_last).observation_space.sample()
    action, _ = model.predict(obs, deterministic=True)
    assert model.action_space.contains(action)
    # pixels are divided by 255 exactly once
    pixels = obs.transpose(2, 0, 1) if channels_last else obs
    extractor = model.actor.features_extractor
    features = model.actor.extract_features(torch.as_tensor(pixels[None].copy()), extractor)
    torch.testing.assert_close(features, extractor(torch.as_tensor(pixels[None] / 255.0).float()))
    actions, log_prob = model.policy.sample(obs, 2)
    torch.testing.assert_close(model.policy.log_prob(obs, actions), log_prob, rtol=0, atol=1e-3)
    model.save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], action)


def test_stacked_frames(make_model):
    env = VecFrameStack(DummyVecEnv([image_env]), n_stack=3)
    kwargs = {"features_extractor_kwargs": {"features_dim": 16}}
    model = make_model(env, "CnnPolicy", kwargs, buffer_size=100, batch_size=4).learn(24)
    assert model.observation_space.shape == (3, 36, 36)


def test_images_that_are_not_bytes(make_model):
    """As after VecNormalize: refused with the option that allows them, which then leaves them as they are."""
    env = Random(spaces.Box(-1, 1, (1, 36, 36)))
    kwargs = {"features_extractor_kwargs": {"features_dim": 16}}
    with pytest.raises(ValueError, match="normalize_images=False"):
        make_model(env, "CnnPolicy", kwargs)
    model = make_model(env, "CnnPolicy", {**kwargs, "normalize_images": False}, buffer_size=100, batch_size=4).learn(25)
    pixels = torch.as_tensor(env.observation_space.sample()[None])
    extractor = model.actor.features_extractor
    torch.testing.assert_close(model.actor.extract_features(pixels, extractor), extractor(pixels))


@pytest.mark.parametrize("name", SPACES)
def test_predictions_are_shaped_as_the_observations(make_model, name):
    space, action_space = SPACES[name], spaces.Box(-3, 1, (2, 2))
    model = make_model(Random(space, action_space))
    batch = np.stack([space.sample() for _ in range(3)])
    for deterministic in (True, False):
        actions, state = model.predict(batch, deterministic=deterministic)
        assert actions.shape == (3, 2, 2) and state is None
        assert all(action_space.contains(action) for action in actions)
        assert model.predict(batch[0], deterministic=deterministic)[0].shape == (2, 2)
    with pytest.raises(ValueError, match="shape"):
        model.predict(np.zeros((3, 7, 7), space.dtype))


def test_a_box_without_components_is_refused(make_model):
    with pytest.raises(ValueError, match="action_space must have at least one component"):
        make_model(IdentityEnv(space=spaces.Box(-1.0, 1.0, (0,))))


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)], ids=str)
def test_other_action_spaces_are_refused_as_sb3_does(make_model, space):
    with pytest.raises(AssertionError, match="only supports"):
        make_model(IdentityEnv(space=space))


@pytest.mark.parametrize(
    ("policy", "space", "better"),
    [
        ("FlowPolicy", spaces.Dict({"a": spaces.Box(-1, 1, (2,))}), "MultiInputPolicy"),
        ("MlpPolicy", spaces.Dict({"a": spaces.Box(-1, 1, (2,))}), "MultiInputPolicy"),
        ("CnnPolicy", spaces.Dict({"a": spaces.Box(-1, 1, (2,))}), "MultiInputPolicy"),
        ("CnnPolicy", spaces.Box(-1, 1, (3,)), "FlowPolicy"),
        ("CnnPolicy", spaces.Discrete(3), "FlowPolicy"),
        ("MultiInputPolicy", spaces.Box(-1, 1, (3,)), "FlowPolicy"),
        ("MultiInputPolicy", spaces.Box(0, 255, (36, 36, 3), np.uint8), "FlowPolicy|CnnPolicy"),
    ],
)
def test_an_alias_that_does_not_fit_names_the_one_that_does(make_model, policy, space, better):
    with pytest.raises(ValueError, match=better):
        make_model(Random(space), policy)


@pytest.mark.parametrize("is_dict", [False, True])
def test_a_box_without_an_axis_is_refused(make_model, is_dict):
    box = spaces.Box(-1, 1, ())
    with pytest.raises(ValueError, match=r"observation_space must have an axis.*ReshapeObservation"):
        make_model(Random(spaces.Dict({"a": box}) if is_dict else box), "MultiInputPolicy" if is_dict else "MlpPolicy")


def test_an_unknown_alias_is_named(make_model):
    with pytest.raises(ValueError, match="LstmPolicy"):
        make_model("Pendulum-v1", "LstmPolicy")
