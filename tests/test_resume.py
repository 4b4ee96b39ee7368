"""A run that is stopped at any moment and started again ends as if it had never stopped."""

import numpy as np
import pytest
from interrupted import TOTAL, Stop, Stopped, assert_same, everything, lqr, resume, scramble, small, stop_at
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import ConstantSchedule
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from sb3_flowsac import HoldThenLinearSchedule
from sb3_flowsac.callbacks import LQROptimalityCallback, ResumableCheckpoint


@pytest.fixture(scope="module")
def rewards():
    """Rewards in the buffer of the uninterrupted run: they depend on all actions, and so on all that is learnt."""
    return small().learn(TOTAL).replay_buffer.rewards


RUNS = {
    "default": small,
    "learnt temperature, memory optimised": lambda: small(
        ent_coef="auto_0.1", optimize_memory_usage=True, replay_buffer_kwargs={"handle_timeout_termination": False}
    ),
    "action noise with a memory": lambda: small(
        lqr(2), action_noise=OrnsteinUhlenbeckActionNoise(np.zeros(2), np.full(2, 0.3)), train_freq=3, gradient_steps=-1
    ),
    "normalised, several environments": lambda: small(VecNormalize(lqr(3)), ent_coef=0.3),
    "rewards alone normalised": lambda: small(VecNormalize(lqr(), norm_obs=False)),
    "n-step returns, several environments": lambda: small(
        lqr(2), n_steps=3, action_noise=NormalActionNoise(np.zeros(2), np.full(2, 0.1))
    ),
    "whole episodes, decaying learning rate": lambda: small(
        train_freq=(2, "episode"), gradient_steps=4, learning_rate=lambda left: 1e-3 * left
    ),
    "the default learning rate": lambda: small(learning_rate=HoldThenLinearSchedule(1e-3)),
    "defensive proposals": lambda: small(sampling_distribution="defensive"),
    "monitored as a vector": lambda: small(VecMonitor(lqr(2, episode_steps=11))),
}


@pytest.mark.parametrize("name", RUNS)
def test_stopped_and_resumed_is_uninterrupted(name, tmp_path):
    expected = everything(RUNS[name]().learn(TOTAL))
    for step in (16, 33):  # before learning starts, then with a buffer that is full or nearly so; within an episode
        scramble()
        stop_at(step, RUNS[name](), tmp_path)
    scramble()
    assert_same(everything(resume(RUNS[name](), tmp_path)), expected)


@pytest.mark.parametrize("step", [1, 19, 22, 28, 39])
def test_every_step_is_a_good_one_to_stop_at(step, tmp_path, rewards):
    stop_at(step, small(), tmp_path, save_freq=4)
    resumed = small().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 4, verbose=0))
    np.testing.assert_array_equal(resumed.replay_buffer.rewards, rewards)


def test_logs_and_callbacks_go_on(tmp_path):
    """The same rows from the checkpoint on, with what waited to be logged, and evaluations at the same steps."""

    def run(folder, *more, step=None):
        model, lqr_callback = small(ent_coef=0.5, gamma=0.95), LQROptimalityCallback(20, 3, 10, 2, 5)
        model.set_logger(configure(str(folder), ["json"]))
        callbacks = CallbackList([*more, lqr_callback, *([Stop(step)] if step else [])])
        if step:
            with pytest.raises(Stopped):
                model.learn(TOTAL, callback=callbacks, log_interval=1)
        else:
            model.learn(TOTAL, callback=callbacks, log_interval=1)
        rows = [eval(line) for line in (folder / "progress.json").read_text().splitlines()]
        times = ("time/fps", "time/time_elapsed")
        return [{key: value for key, value in row.items() if key not in times} for row in rows], lqr_callback.history

    rows, history = run(tmp_path / "a")
    run(tmp_path / "b", ResumableCheckpoint(tmp_path / "run", 25, verbose=0), step=35)
    later_rows, later_history = run(tmp_path / "c", ResumableCheckpoint(tmp_path / "run", 25, verbose=0))
    assert later_history == history and [row["timesteps"] for row in history] == [20, 40]
    assert later_rows == [row for row in rows if row["time/total_timesteps"] > 25] and len(later_rows) > 2


def test_a_finished_run_ends_at_once_and_may_be_extended(tmp_path, capsys, rewards):
    """If the learning rate is constant."""
    finished = everything(small().learn(25, callback=ResumableCheckpoint(tmp_path, 20)))
    again = small()
    again.learn(25, callback=[ResumableCheckpoint(tmp_path, 20), Stop(0)])
    assert "Resuming at step 25" in capsys.readouterr().out
    assert_same(everything(again), finished)
    extended = small().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 20), reset_num_timesteps=False)
    assert extended.num_timesteps == TOTAL
    np.testing.assert_array_equal(extended.replay_buffer.rewards, rewards)


def test_a_finished_run_is_not_evaluated_again(tmp_path):
    """Also by a callback that starts before the checkpoint."""

    def history():
        callback = LQROptimalityCallback(20, 3, 10, 2, 5)
        small(ent_coef=0.5).learn(25, callback=[callback, ResumableCheckpoint(tmp_path, 20, verbose=0)])
        return callback.history

    first = history()
    assert [row["timesteps"] for row in first] == [20, 25]
    assert history() == first


def test_a_run_at_the_zoos_constant_rate_may_be_extended(tmp_path):
    rate = ConstantSchedule(1e-3)  # what the Zoo makes of a number
    small(learning_rate=rate).learn(25, callback=ResumableCheckpoint(tmp_path, 20))
    extended = small(learning_rate=rate).learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 20, verbose=0))
    assert extended.num_timesteps == TOTAL


def test_the_end_of_training_by_a_callback_is_not_a_checkpoint(tmp_path, rewards):
    class End(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 33

    small().learn(TOTAL, callback=[ResumableCheckpoint(tmp_path, 10, verbose=0), End()])
    resumed = small().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 10, verbose=0))
    np.testing.assert_array_equal(resumed.replay_buffer.rewards, rewards)
