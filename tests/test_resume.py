"""A run that is stopped at any moment and started again ends as if it had never stopped."""

import errno
import multiprocessing
import os
import pickle
import random
import signal
import time
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import SubprocVecEnv, VecFrameStack, VecMonitor, VecNormalize

from sb3_flowsac import FlowSAC, files
from sb3_flowsac.callbacks import LQROptimalityCallback, ResumableCheckpoint
from sb3_flowsac.files.resume import Checkpoints
from sb3_flowsac.files.resume.archive import read_archive, write_archive

TOTAL = 40
TINY = {"learning_starts": 20, "batch_size": 8, "buffer_size": 30, "n_proposals": 4, "seed": 0, "device": "cpu"}


def lqr(n_envs=1, episode_steps=7, **kwargs):
    """Episodes that end by their time limit, often."""
    env_kwargs = {"max_episode_steps": episode_steps, **kwargs}
    return make_vec_env("maxent_envs:MaxEntLQR-v0", n_envs=n_envs, seed=0, env_kwargs=env_kwargs)


def small(env=None, **kwargs):
    policy_kwargs = {"net_arch": [8], "ode_steps": 1, "density": "trace", **kwargs.pop("policy_kwargs", {})}
    return FlowSAC("FlowPolicy", lqr() if env is None else env, policy_kwargs=policy_kwargs, **{**TINY, **kwargs})


class Stopped(Exception):
    """Stands for whatever ends a process."""


class Stop(BaseCallback):
    """End the run at a step, in the middle of a rollout."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def _on_step(self):
        if self.num_timesteps >= self.at:
            raise Stopped
        return True


def stop_at(step, model, folder, save_freq=5, total=TOTAL):
    with pytest.raises(Stopped):
        model.learn(total, callback=[ResumableCheckpoint(folder, save_freq, verbose=0), Stop(step)])


def scramble():
    """A new process starts with other global random states."""
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)


@pytest.fixture(scope="module")
def rewards():
    """Rewards in the buffer of the uninterrupted run: they depend on all actions, and so on all that is learnt."""
    return small().learn(TOTAL).replay_buffer.rewards


def everything(model):
    """All that training changes and that can be seen from outside."""
    tensors = {**model.policy.state_dict(), "alpha": model.entropy_coefficient()}
    for name, optimizer in (("actor", model.actor.optimizer), ("critic", model.critic.optimizer)):
        states = optimizer.state_dict()["state"]
        tensors |= {f"{name}.{i}.{key}": value for i, state in states.items() for key, value in state.items()}
    arrays = {name: value.numpy() for name, value in tensors.items()}
    contents = vars(model.replay_buffer).items()
    arrays |= {f"buffer.{name}": value for name, value in contents if isinstance(value, int | np.ndarray)}
    arrays |= {"last_obs": model._last_obs, "steps": model.num_timesteps, "updates": model._n_updates}
    arrays |= {"ess_share": model._ess_share}
    arrays |= {"episodes": model._episode_num, "returns": [float(episode["r"]) for episode in model.ep_info_buffer]}
    arrays |= {"python": random.random(), "numpy": np.random.random(), "torch": torch.rand(1).numpy()}
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None:
        arrays |= {"reward_var": normalizer.ret_rms.var, "running": normalizer.returns}
    if normalizer is not None and normalizer.norm_obs:
        arrays |= {"mean": normalizer.obs_rms.mean}
    return arrays


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name, strict=True)


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
    "scheduled proposals, kernels at replay actions": lambda: small(
        n_proposals="auto_14", sampling_distribution="replay"
    ),
    "monitored as a vector": lambda: small(VecMonitor(lqr(2, episode_steps=11))),
}


@pytest.mark.parametrize("name", RUNS)
def test_stopped_and_resumed_is_uninterrupted(name, tmp_path):
    expected = everything(RUNS[name]().learn(TOTAL))
    for step in (16, 33):  # before learning starts, then with a buffer that is full or nearly so; within an episode
        scramble()
        stop_at(step, RUNS[name](), tmp_path)
    scramble()
    assert_same(everything(RUNS[name]().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 5, verbose=0))), expected)


@pytest.mark.parametrize("step", [1, 19, 22, 28, 39])
def test_every_step_is_a_good_one_to_stop_at(step, tmp_path, rewards):
    stop_at(step, small(), tmp_path, save_freq=4)
    resumed = small().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 4, verbose=0))
    np.testing.assert_array_equal(resumed.replay_buffer.rewards, rewards)


def test_environments_in_other_processes(tmp_path):
    kwargs = {"env_kwargs": {"max_episode_steps": 7}, "vec_env_kwargs": {"start_method": "fork"}}
    env = make_vec_env("maxent_envs:MaxEntLQR-v0", 2, seed=0, vec_env_cls=SubprocVecEnv, **kwargs)
    uninterrupted = small(lqr(2)).learn(TOTAL)
    interrupted = small(env)
    stop_at(35, interrupted, tmp_path)
    interrupted.env.close()
    resumed = small(lqr(2)).learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 5, verbose=0))
    np.testing.assert_array_equal(resumed.replay_buffer.observations, uninterrupted.replay_buffer.observations)


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
    finished = everything(small().learn(25, callback=ResumableCheckpoint(tmp_path, 20)))
    again = small()
    again.learn(25, callback=[ResumableCheckpoint(tmp_path, 20), Stop(0)])
    assert "Resuming at step 25" in capsys.readouterr().out
    assert_same(everything(again), finished)
    extended = small().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 20), reset_num_timesteps=False)
    assert extended.num_timesteps == TOTAL
    np.testing.assert_array_equal(extended.replay_buffer.rewards, rewards)


def test_the_end_of_training_by_a_callback_is_not_a_checkpoint(tmp_path, rewards):
    class End(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 33

    small().learn(TOTAL, callback=[ResumableCheckpoint(tmp_path, 10, verbose=0), End()])
    resumed = small().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 10, verbose=0))
    np.testing.assert_array_equal(resumed.replay_buffer.rewards, rewards)


def test_the_latest_checkpoints_are_kept(tmp_path):
    (tmp_path / "checkpoint-000000000003.npz.tmp").write_bytes(b"of a killed process")
    small().learn(40, callback=ResumableCheckpoint(tmp_path, 10, keep=3, verbose=0))
    assert [path.name[-6:-4] for path in Checkpoints(tmp_path, 3).paths()] == ["20", "30", "40"]
    assert len(list(tmp_path.iterdir())) == 3


def test_only_filled_rows_are_written(tmp_path):
    small(buffer_size=1_000_000).learn(30, callback=ResumableCheckpoint(tmp_path, 10, verbose=0))
    assert all(path.stat().st_size < 2_000_000 for path in tmp_path.iterdir())


# Environments that do not tell their state


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
        resumed.learn(45, callback=ResumableCheckpoint(tmp_path, 100, verbose=0))
    buffer = resumed.replay_buffer
    # The episode ended at the checkpoint at step 30 for the buffer, without being terminal
    assert buffer.dones[29] == 1 and buffer.timeouts[29] == 1 and buffer.dones[30:36].sum() == 0
    assert resumed.num_timesteps == 45 and resumed._n_updates == 25
    assert not np.array_equal(buffer.observations[30], buffer.observations[0]), "not the first episode once more"


def test_state_that_cannot_be_kept_is_named(tmp_path):
    class Odd(gym.Wrapper):
        def get_state(self):
            return {"here": {"is": object()}}

        def set_state(self, state):
            pass

    env = make_vec_env("MaxEntLQR-v0", wrapper_class=Odd)
    model = small(env)
    model.replay_buffer.tree = object()
    with pytest.raises(TypeError, match="replay buffer's tree is a object"):
        model.learn(30, callback=ResumableCheckpoint(tmp_path, 10))
    with pytest.raises(TypeError, match=r"checkpoint\['here'\]\['is'\] is a object"):
        write_archive(tmp_path / "a.npz", env.env_method("get_state")[0])
    assert not list(tmp_path.iterdir())


# Refusals


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: small(tau=0.1), "tau was 0.005, now 0.1"),
        (lambda: small(seed=1), "seed was 0, now 1"),
        (lambda: small(stats_window_size=7), "stats_window_size was 100, now 7"),
        (lambda: small(policy_kwargs={"n_critics": 1}), "policy_kwargs was .*net_arch.*now .*n_critics: 1"),
        (lambda: small(lqr(2)), "vec_env was .*1 environments.*2 environments"),
        (lambda: small(lqr(gamma=0.9, A=[[1.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]])), "environments was .*gamma: 0.9"),
        (lambda: small(lqr(episode_steps=8)), "environments was .*7.*now .*8"),
        (lambda: small("Pendulum-v1"), r"observation_space was Box.*\(2,\).*environments was .*PendulumEnv"),
        (lambda: small(VecNormalize(lqr())), "vec_env was .*VecNormalize{clip_obs: 10.0"),
        (lambda: type("Other", (FlowSAC,), {})("FlowPolicy", lqr(), **TINY), "algorithm was .*FlowSAC, now .*Other"),
    ],
)
def test_another_run_is_refused(other, message, tmp_path):
    stop_at(12, small(), tmp_path)
    before = [path.read_bytes() for path in Checkpoints(tmp_path, 2).paths()]
    with pytest.raises(ValueError, match=f"checkpoint of another run: .*{message}"):
        other().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 5))
    assert [path.read_bytes() for path in Checkpoints(tmp_path, 2).paths()] == before


def test_another_length_is_refused_if_the_learning_rate_depends_on_it(tmp_path):
    stop_at(12, small(learning_rate=lambda left: left), tmp_path)
    with pytest.raises(ValueError, match="total_timesteps was 40, now 100"):
        small(learning_rate=lambda left: left).learn(100, callback=ResumableCheckpoint(tmp_path, 5))


def test_another_schedule_of_the_same_name_is_refused(tmp_path):
    def schedule(peak):
        return lambda left: peak * left

    stop_at(12, small(learning_rate=schedule(1e-3)), tmp_path)
    with pytest.raises(ValueError, match=r"learning_rate was .*\[0.001, .*now .*\[0.5, "):
        small(learning_rate=schedule(0.5)).learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 5))


def test_another_version_is_named(tmp_path, monkeypatch):
    stop_at(12, small(), tmp_path)
    monkeypatch.setattr("sb3_flowsac.files.resume.settings.gymnasium.__version__", "0.0")
    with pytest.warns(RuntimeWarning, match=r"gymnasium was .*, now 0\.0"):
        small().learn(20, callback=ResumableCheckpoint(tmp_path, 5, verbose=0))


def test_wrong_arguments_are_refused(tmp_path):
    for arguments in ({"save_freq": 0}, {"save_freq": 5, "keep": 0}, {"save_freq": 2.5}):
        with pytest.raises(ValueError, match=r"save_freq|keep"):
            ResumableCheckpoint(tmp_path, **arguments)
    with pytest.raises(ValueError, match="needs a FlowSAC model, got SAC"):
        SAC("MlpPolicy", "Pendulum-v1", buffer_size=10).learn(5, callback=ResumableCheckpoint(tmp_path, 5))


# Damaged files and full disks


def flipped(content, position, bits):
    return content[:position] + bytes([content[position] ^ bits]) + content[position + 1 :]


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "text", "pickle", "npy of objects", "one bit", "another version"]
)
def test_a_damaged_checkpoint_is_named_and_the_older_one_used(damage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints(tmp_path, 2)
    older, latest = (checkpoints.write(step, {"step": step, "numbers": np.arange(1000.0)}) for step in (10, 20))
    content = latest.read_bytes()
    if damage == "npy of objects":
        with latest.open("wb") as file:
            np.save(file, np.array([Bomb()]), allow_pickle=True)
    elif damage == "another version":
        monkeypatch.setattr(
            "sb3_flowsac.files.resume.archive.FORMAT", {"format": "sb3-flowsac checkpoint", "version": 2}
        )
        write_archive(latest, {})
        monkeypatch.undo()
    else:
        damaged = {
            "truncated": content[: len(content) // 2],
            "empty": b"",
            "text": b"not a checkpoint",
            "pickle": pickle.dumps(Bomb()),
            "one bit": flipped(content, len(content) // 2, 1),
        }
        latest.write_bytes(damaged[damage])
    with pytest.warns(RuntimeWarning, match=f"{latest.name} is damaged or no checkpoint"):
        path, found = checkpoints.latest()
    assert path == older and found["step"] == 10
    assert not (tmp_path / "exploded").exists()


def test_a_run_goes_on_from_the_older_checkpoint(tmp_path, rewards):
    stop_at(32, small(), tmp_path)
    older, latest = Checkpoints(tmp_path, 2).paths()
    latest.write_bytes(latest.read_bytes()[:-100])
    with pytest.warns(RuntimeWarning, match=f"{latest.name} is damaged"):
        resumed = small().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 5, verbose=0))
    np.testing.assert_array_equal(resumed.replay_buffer.rewards, rewards)
    assert not older.exists() and len(list(tmp_path.iterdir())) == 2


def test_no_readable_checkpoint_is_an_error(tmp_path):
    (tmp_path / "checkpoint-000000000010.npz").write_bytes(b"")
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(ValueError, match=r"no checkpoint in .* delete checkpoint-0+10\.npz"),
    ):
        small().learn(20, callback=ResumableCheckpoint(tmp_path, 5))


def test_every_flipped_byte_of_a_file_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    write_archive(path, {"numbers": np.arange(3), "nested": [{"x": (1, float("inf"), None)}]})
    content = path.read_bytes()
    assert read_archive(path)["nested"] == [{"x": (1, float("inf"), None)}]
    for position in range(0, len(content), 7):
        path.write_bytes(flipped(content, position, 0xFF))
        try:
            found = read_archive(path)
        except ValueError as error:
            assert "a.npz" in str(error)
        else:  # a byte that says nothing, such as a time stamp
            np.testing.assert_array_equal(found["numbers"], np.arange(3))


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path, monkeypatch, rewards):
    stop_at(32, small(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    class Full:
        """A file on a disk with room for 1,000 bytes more."""

        def __init__(self, file):
            self.file, self.left = file, 1000

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    savez = np.savez
    monkeypatch.setattr("sb3_flowsac.files.resume.archive.np.savez", lambda file, **arrays: savez(Full(file), **arrays))
    with pytest.raises(OSError, match=r"cannot write: No space left on device: .*checkpoint-0+35\.npz") as error:
        small().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 5, verbose=0))
    assert error.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    resumed = small().learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 5, verbose=0))
    np.testing.assert_array_equal(resumed.replay_buffer.rewards, rewards)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "file"
    with files.replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    with pytest.raises(Stopped), files.replacing(path) as file:
        file.write(b"newer")
        raise Stopped
    assert path.read_bytes() == b"new" and list(path.parent.iterdir()) == [path]
    with pytest.raises(OSError, match="cannot write") as error, files.replacing(path / "below") as file:
        pass
    assert error.value.filename == str(path / "below")


# Killed processes


def run(folder, total):
    torch.set_num_threads(1)
    return small().learn(total, callback=ResumableCheckpoint(folder, 5, verbose=0))


def test_killed_runs_end_as_uninterrupted_ones(tmp_path):
    """SIGKILL at random moments, some while a checkpoint is written: none is ever damaged, and nothing is lost."""
    context = multiprocessing.get_context("forkserver")  # imports once, not for each process
    context.set_forkserver_preload(["sb3_flowsac.callbacks", "torch._dynamo"])
    for delay in np.random.default_rng(0).uniform(0.0, 0.1, 3):
        before = Checkpoints(tmp_path, 2).paths()
        process = context.Process(target=run, args=(tmp_path, 120))
        process.start()
        while Checkpoints(tmp_path, 2).paths() == before and process.is_alive():
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        for path in Checkpoints(tmp_path, 2).paths():
            read_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed = run(tmp_path, 120)
    for ours, theirs in zip(resumed.policy.parameters(), small().learn(120).policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_zoos_time_limit_is_no_other_environment(tmp_path, monkeypatch):
    """Importing the RL Zoo replaces Gymnasium's wrapper in all environments that are made afterwards."""

    class PatchedTimeLimit(gym.wrappers.TimeLimit):
        pass

    small().learn(20, callback=ResumableCheckpoint(tmp_path, 5, verbose=0))
    monkeypatch.setattr("gymnasium.wrappers.TimeLimit", PatchedTimeLimit)
    model = small()
    assert "PatchedTimeLimit" in str(model.get_env().envs[0])
    assert model.learn(30, callback=ResumableCheckpoint(tmp_path, 5, verbose=0)).num_timesteps == 30


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
    resumed.learn(TOTAL, callback=ResumableCheckpoint(tmp_path, 5, verbose=0))
    for key in ("x", "y"):
        np.testing.assert_array_equal(*[m.replay_buffer.observations[key] for m in (resumed, uninterrupted)])
    for ours, theirs in zip(resumed.policy.parameters(), uninterrupted.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
