"""What a run is not resumed from: checkpoints of other runs, and states that cannot be kept."""

import threading

import pytest
from interrupted import TINY, lqr, resume, small, stop_at
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecNormalize

from maxent_envs import LQREnv
from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import ResumableCheckpoint


def best_of_two(model):
    model.policy.n_acting_candidates = 2
    return model


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: small(tau=0.1), "tau was 0.005, now 0.1"),
        (lambda: small(seed=1), "seed was 0, now 1"),
        (lambda: small(stats_window_size=7), "stats_window_size was 100, now 7"),
        (lambda: small(policy_kwargs={"n_critics": 1}), "policy_kwargs.n_critics was None, now 1"),
        (lambda: small(policy_kwargs={"net_arch": [9]}), r"policy_kwargs.net_arch was \[8\], now \[9\]"),
        (lambda: best_of_two(small()), "n_acting_candidates was 1, now 2"),
        (lambda: small(lqr(2)), "n_envs was 1, now 2"),
        (lambda: small(lqr(gamma=0.9, A=[[1.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]])), "environments was .*gamma.: 0.9"),
        (lambda: small(lqr(episode_steps=8)), "environments was .*7.*now .*8"),
        (lambda: small("Pendulum-v1"), r"observation_space was .*\(2,\).*environments was .*PendulumEnv"),
        (lambda: small(VecNormalize(lqr())), "VecNormalize was null, now .*clip_obs.*10.0"),
        (lambda: type("Other", (FlowSAC,), {})("FlowPolicy", lqr(), **TINY), "algorithm was .*FlowSAC.*, now .*Other"),
    ],
)
def test_another_run_is_refused(other, message, tmp_path):
    stop_at(12, small(), tmp_path)
    before = (tmp_path / "checkpoint.zip").read_bytes()
    with pytest.raises(ValueError, match=f"checkpoint of another run: .*{message}"):
        resume(other(), tmp_path)
    assert (tmp_path / "checkpoint.zip").read_bytes() == before


def test_another_length_is_refused_if_the_learning_rate_depends_on_it(tmp_path):
    stop_at(12, small(learning_rate=lambda left: left), tmp_path)
    with pytest.raises(ValueError, match="total_timesteps was 40, now 100"):
        resume(small(learning_rate=lambda left: left), tmp_path, 100)


def test_another_schedule_of_the_same_name_is_refused(tmp_path):
    def schedule(peak):
        return lambda left: peak * left

    stop_at(12, small(learning_rate=schedule(1e-3)), tmp_path)
    with pytest.raises(ValueError, match=r"learning_rate.* was .*0.001.*now .*0.5"):
        resume(small(learning_rate=schedule(0.5)), tmp_path)


def test_another_version_is_named(tmp_path, monkeypatch):
    stop_at(12, small(), tmp_path)
    monkeypatch.setattr("gymnasium.__version__", "0.0")
    with pytest.warns(RuntimeWarning, match=r"gymnasium was .*, now 0\.0"):
        resume(small(), tmp_path, 20)


def test_state_that_cannot_be_kept_is_named_before_training(tmp_path):
    class Odd(LQREnv):
        def get_state(self):
            return {"here": threading.Lock()}

        def set_state(self, state):
            pass

    with_lock = small()
    with_lock.replay_buffer.tree = threading.Lock()
    odd = small(Odd())
    for name, model in (("buffer", with_lock), ("environments", odd)):
        with pytest.raises(TypeError, match=rf"{name}.*lock"):
            resume(model, tmp_path)
        assert model.num_timesteps == 0
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_refused(tmp_path):
    for save_freq in (0, 2.5):
        with pytest.raises(ValueError, match="save_freq"):
            ResumableCheckpoint(tmp_path, save_freq)
    with pytest.raises(ValueError, match="needs a FlowSAC model, got SAC"):
        resume(SAC("MlpPolicy", "Pendulum-v1", buffer_size=10), tmp_path)
