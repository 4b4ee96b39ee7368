"""Environments of a run that is stopped and resumed: in other processes, wrapped, with and without a state to save."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from interrupted import TINY, TOTAL, lqr, resume, small, stop_at
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv, VecFrameStack, VecNormalize

from sb3_flowsac import FlowSAC


def test_environments_in_other_processes(tmp_path):
    kwargs = {"env_kwargs": {"max_episode_steps": 7}, "vec_env_kwargs": {"start_method": "fork"}}
    env = make_vec_env("maxent_envs:MaxEntLQR-v0", 2, seed=0, vec_env_cls=SubprocVecEnv, **kwargs)
    uninterrupted = small(lqr(2)).learn(TOTAL)
    interrupted = small(env)
    stop_at(35, interrupted, tmp_path)
    interrupted.env.close()
    resumed = resume(small(lqr(2)), tmp_path)
    np.testing.assert_array_equal(resumed.replay_buffer.observations, uninterrupted.replay_buffer.observations)


@pytest.mark.parametrize("name", ["Pendulum-v1", "VecFrameStack", "wrapper"])
def test_episodes_that_cannot_go_on_start_anew_with_a_warning(name, tmp_path):
    class Unknown(gym.Wrapper):
        pass

    def env():
        if name == "VecFrameStack":
            return VecFrameStack(lqr(), 2)
        if name == "wrapper":
            return make_vec_env("MaxEntLQR-v0", wrapper_class=Unknown, seed=0)
        return VecNormalize(make_vec_env(name, seed=0))

    stop_at(33, small(env(), buffer_size=100), tmp_path)
    resumed = small(env(), buffer_size=100)
    named = {"Pendulum-v1": "PendulumEnv", "wrapper": "Unknown"}.get(name, name)
    with pytest.warns(RuntimeWarning, match=f"start anew, because of {named}"):
        resume(resumed, tmp_path, 45, save_freq=100)
    buffer = resumed.replay_buffer
    # The episode ended at the checkpoint at step 30 for the buffer, without being terminal
    assert buffer.dones[29] == 1 and buffer.timeouts[29] == 1 and buffer.dones[30:36].sum() == 0
    assert resumed.num_timesteps == 45 and resumed._n_updates == 25
    assert not np.array_equal(buffer.observations[30], buffer.observations[0]), "not the first episode once more"


class TwoSteps(gym.Env):
    """Each episode ends by itself after two steps. Nothing of it can be saved."""

    observation_space, action_space = spaces.Box(-1, 1, (1,)), spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n_steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.n_steps += 1
        return np.zeros(1, np.float32), 0.0, self.n_steps == 2, False, {}


def test_an_episode_that_has_ended_by_itself_stays_terminal(tmp_path):
    resume(small(make_vec_env(TwoSteps), buffer_size=100), tmp_path, 24)
    model = small(make_vec_env(TwoSteps), buffer_size=100)
    with pytest.warns(RuntimeWarning, match="start anew"):
        resume(model, tmp_path, 30)
    buffer = model.replay_buffer
    assert buffer.dones[:24].ravel().tolist() == [0, 1] * 12 and not buffer.timeouts.any()


def test_the_zoos_time_limit_is_no_other_environment(tmp_path, monkeypatch):
    """Importing the RL Zoo replaces Gymnasium's wrapper in all environments that are made afterwards."""

    class PatchedTimeLimit(gym.wrappers.TimeLimit):
        pass

    resume(small(), tmp_path, 20)
    monkeypatch.setattr("gymnasium.wrappers.TimeLimit", PatchedTimeLimit)
    model = small()
    assert "PatchedTimeLimit" in str(model.get_env().envs[0])
    assert resume(model, tmp_path, 30).num_timesteps == 30


def test_dictionary_observations(tmp_path):
    class Pair(gym.Env):
        observation_space = spaces.Dict({"x": spaces.Box(-1, 1, (2,)), "y": spaces.Box(-1, 1, (1,))})
        action_space = spaces.Box(-1, 1, (1,))

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.observe(), {}

        def step(self, action):
            return self.observe(), float(action[0]), bool(self.np_random.random() < 0.1), False, {}

        def observe(self):
            return {"x": self.np_random.random(2, np.float32), "y": self.np_random.random(1, np.float32)}

        def get_state(self):
            return self.np_random.bit_generator.state

        def set_state(self, state):
            self.np_random.bit_generator.state = state

    def model():
        env = make_vec_env(Pair, n_envs=2, seed=0)
        return FlowSAC("MultiInputPolicy", env, policy_kwargs={"net_arch": [8]}, **TINY)

    stop_at(33, model(), tmp_path)
    resumed, uninterrupted = model(), model().learn(TOTAL)
    resume(resumed, tmp_path)
    for key in ("x", "y"):
        np.testing.assert_array_equal(*[m.replay_buffer.observations[key] for m in (resumed, uninterrupted)])
    for ours, theirs in zip(resumed.policy.parameters(), uninterrupted.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
