"""Vectorised environments, callbacks and the LQR in worker processes."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import (
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecCheckNan, VecMonitor, VecNormalize

from sb3_flowsac import FlowSAC

LQR = "maxent_envs:MaxEntLQR-v0"


def test_the_lqr_in_this_process_and_in_workers_is_the_same_run(make_model):
    """Workers have imported nothing: the id names the module that registers it."""
    runs, kwargs = [], {"policy_kwargs": {"squash_output": False}, "gamma": 0.95, "ent_coef": 0.5, "gradient_steps": 2}
    for vec_env_class in (DummyVecEnv, SubprocVecEnv):
        env = make_vec_env(LQR, n_envs=2, seed=0, vec_env_cls=vec_env_class)
        try:
            model = make_model(env, **kwargs).learn(60)
            assert model.num_timesteps == 60 and model._n_updates > 0
            returns, _ = evaluate_policy(model, env, n_eval_episodes=2, return_episode_rewards=True)
            runs.append((model.replay_buffer.actions[: model.replay_buffer.pos].copy(), returns))
        finally:
            env.close()
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    assert np.max(runs[0][1]) < 0


@pytest.mark.parametrize("make_env", [str, gym.make, make_vec_env])
def test_an_environment_by_id_or_as_given(make_model, make_env):
    assert make_model(make_env(LQR)).learn(30)._n_updates == 10


def test_normalised_observations_and_rewards(make_model):
    env = VecNormalize(make_vec_env("Pendulum-v1", n_envs=2))
    model = make_model(env).learn(80)
    assert env.obs_rms.count > 80
    batch = model.replay_buffer.sample(32, env=env)
    raw = model.replay_buffer.rewards[: model.replay_buffer.pos].ravel()  # stored as they came
    assert np.abs(batch.rewards - env.normalize_reward(raw)).min(1).values.max() < 1e-5
    assert not np.allclose(env.normalize_reward(raw), raw, atol=0.1)
    assert model.get_vec_normalize_env() is env


def test_monitoring_wrappers(make_model):
    env = VecMonitor(VecCheckNan(DummyVecEnv([lambda: gym.make("Pendulum-v1")]), raise_exception=True))
    model = make_model(env).learn(210)
    assert len(model.ep_info_buffer) == 1


def test_evaluation_and_checkpoints(make_model, tmp_path):
    evaluation = EvalCallback(
        make_vec_env(LQR, seed=1),
        n_eval_episodes=1,
        eval_freq=20,
        best_model_save_path=str(tmp_path),
        log_path=str(tmp_path),
        verbose=0,
    )
    checkpoints = CheckpointCallback(25, str(tmp_path), save_replay_buffer=True)
    model = make_model(LQR).learn(60, callback=CallbackList([evaluation, checkpoints]))
    assert np.load(tmp_path / "evaluations.npz")["timesteps"].tolist() == [20, 40, 60]
    for name in ("rl_model_25_steps", "rl_model_50_steps", "best_model"):
        assert FlowSAC.load(tmp_path / name).num_timesteps <= 60
    restored = FlowSAC.load(tmp_path / "rl_model_50_steps", env=gym.make(LQR))
    restored.load_replay_buffer(tmp_path / "rl_model_replay_buffer_50_steps")
    assert restored.num_timesteps == 50 and restored.replay_buffer.pos == 49  # SB3 calls back before it stores a step
    assert restored.learn(10, reset_num_timesteps=False).num_timesteps == model.num_timesteps == 60


def test_callbacks_that_stop_training(make_model):
    assert make_model("Pendulum-v1").learn(1000, callback=StopTrainingOnMaxEpisodes(1)).num_timesteps == 200
    stop = EvalCallback(
        make_vec_env("Pendulum-v1"),
        callback_on_new_best=StopTrainingOnRewardThreshold(-1e9),
        n_eval_episodes=1,
        eval_freq=30,
        verbose=0,
    )
    assert make_model("Pendulum-v1").learn(1000, callback=stop).num_timesteps == 30
    calls = []
    make_model("Pendulum-v1").learn(
        50, callback=lambda local, _: calls.append(local["self"].num_timesteps) or len(calls) < 40
    )
    assert calls == list(range(1, 41))


def test_a_callback_every_n_steps_and_a_progress_bar(make_model):
    class Count(CheckpointCallback):
        def _on_step(self):
            self.count = getattr(self, "count", 0) + 1
            return True

    counter = Count(1, "unused")
    make_model("Pendulum-v1").learn(50, callback=EveryNTimesteps(10, counter), progress_bar=True)
    assert counter.count == 5
