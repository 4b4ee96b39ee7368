"""Hindsight experience replay: a goal is reached, in every strategy, over several environments, saved, restored,
resumed."""

import numpy as np
import pytest
import torch
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv

from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import ResumableCheckpoint


def bits(n_envs=1, n_bits=4):
    return make_vec_env(lambda: BitFlippingEnv(n_bits=n_bits, continuous=True), n_envs=n_envs)


@pytest.fixture
def make_her_model(make_model):
    def make(env, strategy="future", copy_info_dict=False, **kwargs):
        kwargs = {"learning_starts": 30, **kwargs}
        buffer = {"n_sampled_goal": 4, "goal_selection_strategy": strategy, "copy_info_dict": copy_info_dict}
        return make_model(
            env, "MultiInputPolicy", replay_buffer_class=HerReplayBuffer, replay_buffer_kwargs=buffer, **kwargs
        )

    return make


@pytest.mark.parametrize("strategy", ["future", "final", "episode"])
@pytest.mark.parametrize("n_envs", [1, 2])
def test_every_strategy(make_her_model, strategy, n_envs):
    model = make_her_model(bits(n_envs), strategy).learn(60)
    assert model._n_updates == 30 // n_envs
    batch = model.replay_buffer.sample(64)
    reached = (batch.next_observations["achieved_goal"] == batch.next_observations["desired_goal"]).all(1)
    np.testing.assert_array_equal(batch.rewards.flatten(), reached.numpy().astype(float) - 1)
    assert 0 < reached.float().mean() < 1  # real goals are hardly ever met in so few steps


def test_isfm_s_states_have_hindsight_goals_as_the_batch_has_them(make_her_model, monkeypatch):
    """The buffer puts them last: the first 64 of 256 states would be real goals but for 12."""
    model, shares = make_her_model(bits(n_bits=8), batch_size=256, actor_batch_size=64, learning_starts=100), []
    original = model.weigh_proposals

    def spy(policy, observations, ent_coef):
        shares.append(float((observations["desired_goal"] == 1).all(1).float().mean()))  # the environment's own goal
        return original(policy, observations, ent_coef)

    monkeypatch.setattr(model, "weigh_proposals", spy)
    model.learn(110)
    assert shares and 0.15 < np.mean(shares) < 0.35  # a fifth, and hindsight goals that happen to be the same


@pytest.mark.parametrize("at_random", [False, True])
def test_saved_and_restored(make_her_model, tmp_path, at_random):
    """Learning goes on, also from parameters set at random, as in SB3's test_save_load."""
    env = bits(2, n_bits=8)  # so many that no goal is reached and the last trajectories are unfinished
    model = make_her_model(env, policy_kwargs={"net_arch": [256, 256]}).learn(60)
    if at_random:
        random = {name: torch.rand_like(value) for name, value in model.policy.state_dict().items()}
        model.policy.load_state_dict(random)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    with pytest.raises(AssertionError, match="environment"):
        FlowSAC.load(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", env=env)
    with pytest.warns(UserWarning, match="last trajectory"):
        loaded.load_replay_buffer(tmp_path / "buffer")
    assert (
        isinstance(loaded.replay_buffer, HerReplayBuffer) and loaded.replay_buffer.pos == model.replay_buffer.pos == 30
    )
    np.testing.assert_array_equal(loaded.replay_buffer.rewards, model.replay_buffer.rewards)
    observations = model.replay_buffer.sample(10).observations
    predicted = [
        each.predict({k: v.numpy() for k, v in observations.items()}, deterministic=True)[0] for each in (model, loaded)
    ]
    np.testing.assert_array_equal(*predicted)
    assert loaded.learn(60, reset_num_timesteps=False)._n_updates == model._n_updates + 30
    assert all(parameter.isfinite().all() for parameter in loaded.policy.parameters())


class ToldBits(BitFlippingEnv):
    """The environment with its state told."""

    def get_state(self):
        return {"bits": self.state, "steps": self.current_step, "random": self._obs_space.np_random.bit_generator.state}

    def set_state(self, state):
        self.state, self.current_step = state["bits"], state["steps"]
        self._obs_space.np_random.bit_generator.state = state["random"]


@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize(("buffer_size", "copy_info_dict"), [(1000, False), (40, False), (40, True)])
def test_a_resumed_run_ends_as_the_uninterrupted_one(make_her_model, tmp_path, n_envs, buffer_size, copy_info_dict):
    """Stopped within an episode, whose transitions are no goals yet, with a buffer that is full or not."""

    def model():
        env = make_vec_env(lambda: ToldBits(n_bits=4, continuous=True, max_steps=7), n_envs, seed=0)
        sizes = {"buffer_size": buffer_size, "batch_size": 16}
        # A constant learning rate, so that the stopped run of 53 steps is the beginning of the one of 74
        return make_her_model(env, copy_info_dict=copy_info_dict, seed=0, device="cpu", learning_rate=1e-3, **sizes)

    uninterrupted = model().learn(74)
    model().learn(53, callback=ResumableCheckpoint(tmp_path, 25 // n_envs, verbose=0))
    resumed = model().learn(74, callback=ResumableCheckpoint(tmp_path, 1000, verbose=0))
    for name, ours in vars(resumed.replay_buffer).items():
        if isinstance(ours, np.ndarray) and name != "infos":
            np.testing.assert_array_equal(ours, getattr(uninterrupted.replay_buffer, name), err_msg=name)
    success = [[info.get("is_success") for info in m.replay_buffer.infos.flat] for m in (resumed, uninterrupted)]
    assert success[0] == success[1] and (not copy_info_dict or None not in success[0])
    for ours, theirs in zip(resumed.policy.parameters(), uninterrupted.policy.parameters(), strict=True):
        assert (ours == theirs).all()
