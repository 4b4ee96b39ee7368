"""Loading: wrong arguments and damaged files are named, and action noise is for the environments that there are."""

import io
import pickle
import zipfile

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise

from sb3_flowsac import FlowSAC


@pytest.mark.parametrize("n_envs", [1, 3])
def test_action_noise_follows_the_number_of_environments(make_model, n_envs, tmp_path):
    noise = NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))
    make_model(make_vec_env("Pendulum-v1", n_envs=2), action_noise=noise).learn(10).save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", env=make_vec_env("Pendulum-v1", n_envs=n_envs)).learn(30)
    assert np.atleast_2d(loaded.action_noise()).shape == (n_envs, 1) and loaded.num_timesteps == 30


def garbled(path, member):
    """A model's zip file with one member replaced, or left out."""
    content = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(content, "w") as changed:
        for name in archive.namelist():
            if name != member or name != "policy.pth":
                changed.writestr(name, b"garbage" if name == member else archive.read(name))
    return content.getvalue()


DAMAGES = {
    "truncated": lambda path: path.read_bytes()[:-100],
    "one byte": lambda path: path.read_bytes().replace(b"tau", b"tao", 1),
    "pickle": lambda path: pickle.dumps({"a": 1}),
    "data are garbage": lambda path: garbled(path, "data"),
    "optimizer is garbage": lambda path: garbled(path, "actor.optimizer.pth"),
    "no policy": lambda path: garbled(path, "policy.pth"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(make_model, damage, tmp_path):
    path = tmp_path / "model.zip"
    make_model("Pendulum-v1").save(path)
    path.write_bytes(DAMAGES[damage](path))
    with pytest.raises(ValueError, match=r"model\.zip"):
        FlowSAC.load(path)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"learning_rte": 1e-4}, TypeError, "learning_rte.*did you mean learning_rate"),
        ({"use_sde": True}, ValueError, "use_sde.*gSDE"),
        ({"stats_window_size": 0}, ValueError, "stats_window_size"),
    ],
)
def test_an_argument_that_load_cannot_take_is_named(make_model, given, error, message, tmp_path):
    make_model("Pendulum-v1").save(tmp_path / "model")
    with pytest.raises(error, match=message):
        FlowSAC.load(tmp_path / "model", **given)


def test_the_window_of_the_log_can_be_given(make_model, tmp_path):
    make_model("Pendulum-v1").save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", env=gym.make("Pendulum-v1"), stats_window_size=7).learn(10)
    assert loaded.ep_info_buffer.maxlen == 7


def test_a_model_of_a_run_whose_length_is_a_float_loads(make_model, tmp_path):
    """SB3 takes 1e3 for a number of steps."""
    model = make_model("Pendulum-v1", learning_starts="auto").learn(5e3, callback=lambda *_: False)
    model.save(tmp_path / "model")
    assert FlowSAC.load(tmp_path / "model").learning_starts == 500
