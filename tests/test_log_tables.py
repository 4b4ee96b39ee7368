"""Training prints a table every few seconds at most; other outputs get every record."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.logger import configure

EPISODES = 40  # of one step each: SB3 logs after every fourth


@pytest.fixture
def model(make_model):
    return make_model(gym.make("BoltzmannBandit-v0"), learning_starts=100, verbose=1)


def test_tables_of_short_episodes(model, capsys):
    model.learn(EPISODES)
    assert capsys.readouterr().out.count("total_timesteps") == 1


def test_tables_appear_after_some_seconds(model, capsys, monkeypatch):
    clock = iter(np.arange(0.0, 1e4, 1.1))
    monkeypatch.setattr("sb3_flowsac.algorithm.tables.time.monotonic", lambda: next(clock))
    model.learn(EPISODES)
    assert 2 <= capsys.readouterr().out.count("total_timesteps") < EPISODES // 4


def test_a_logger_of_the_users_is_left_alone(model, capsys, tmp_path):
    model.set_logger(configure(str(tmp_path), ["stdout", "csv"]))
    model.learn(EPISODES)
    assert capsys.readouterr().out.count("total_timesteps") == EPISODES // 4
    assert len((tmp_path / "progress.csv").read_text().splitlines()) == 1 + EPISODES // 4
