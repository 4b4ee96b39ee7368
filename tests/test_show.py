"""``flowsac show`` and ``flowsac export``: pictures and ONNX files of saved models, and how bad arguments are
refused."""

import shlex
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv, FakeImageEnv
from stable_baselines3.common.monitor import Monitor

import maxent_envs
from sb3_flowsac import FlowPolicy, save_policy
from sb3_flowsac.cli import main
from sb3_flowsac.files.loading import load_saved
from sb3_flowsac.lqr_study.models import lqr_model
from sb3_flowsac.lqr_study.study import show_command
from sb3_flowsac.show import CAPTIONS, _with_infinite_bounds, states


@pytest.fixture
def opened(monkeypatch):
    """Pages that a browser was asked to show; there is no display."""
    pages = []
    monkeypatch.setattr("webbrowser.open", pages.append)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return pages


@pytest.fixture
def bandit(make_model, tmp_path):
    """A saved model with a Monitor's file beside it."""
    env = Monitor(gym.make("BoltzmannBandit-v0"), str(tmp_path / "monitor.csv"))
    make_model(env, learning_starts=5).learn(10).save(tmp_path / "bandit")
    return tmp_path / "bandit.zip"


def error_of(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return str(stop.value.code) + capsys.readouterr().err


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_model_in_its_environment(bandit, opened, capsys, monkeypatch):
    folder = bandit.with_name("bandit_pictures")
    pictures = {"action_density", "flow_paths", "weights", "against_target", "learning_curve"}
    assert main(["show", str(bandit), "--env", "BoltzmannBandit-v0"]) == 0
    assert names(folder) == {f"{name}.png" for name in pictures} | {"index.html"}
    *printed, page = capsys.readouterr().out.splitlines()
    assert set(printed) == {str(folder / f"{name}.png") for name in pictures}
    assert page == f"All on one page: {folder / 'index.html'}"
    text = (folder / "index.html").read_text()
    facts = str(bandit), "FlowPolicy", "10 steps", "BoltzmannBandit-v0", "State 3", *CAPTIONS["weights"].split("&")
    assert all(f"{name}.png" in text for name in pictures) and all(fact in text for fact in facts)
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["show", str(bandit)]) == 0
    assert opened == [(folder / "index.html").as_uri()]
    assert main(["show", str(bandit), "--out", str(bandit.parent / "a" / "b")]) == 0
    assert len(opened) == 1 and "weights.png" in names(bandit.parent / "a" / "b")


def test_an_environment_with_arguments(make_model, opened, tmp_path, capsys):
    """The regulator's Box depends on its temperature."""
    path, folder = tmp_path / "lqr.zip", tmp_path / "lqr_pictures"
    env = gym.make("MaxEntLQR-v0", alpha=0.25, max_episode_steps=20)
    make_model(env, ent_coef=0.25, policy_kwargs={"squash_output": False}).save(path)
    command = ["show", str(path), "--env", "MaxEntLQR-v0"]
    assert "other arguments of the environment?" in error_of(command, capsys)
    assert "argument --env-kwargs" in error_of([*command, "--env-kwargs", "alpha"], capsys)
    assert "without --env" in error_of([*command[:2], "--env-kwargs", "alpha:0.25"], capsys)
    assert "argument --env: " in error_of([*command, "--env-kwargs", "alpa:0.25"], capsys)
    main([*command, "--env-kwargs", "alpha:0.25", "preset:default"])
    assert "against_optimum.png" in names(folder) and "learning_curve.png" not in names(folder)
    assert "No learning curve" in capsys.readouterr().out


@pytest.mark.parametrize("problem", [maxent_envs.preset("scalar"), maxent_envs.random_problem(3, 2, 0)])
def test_what_the_study_suggests_runs(opened, tmp_path, problem):
    """For the study's own models, whose Box is not the environment's default."""
    lqr_model(problem, 0.25, seed=0).save(tmp_path / "lqr")
    program, *arguments = shlex.split(show_command(tmp_path / "lqr.zip", problem, 0.25))
    assert program == "flowsac" and main(arguments) == 0
    assert "against_optimum.png" in names(tmp_path / "lqr_pictures")


def test_a_policy_without_its_model(bandit, opened, tmp_path):
    save_policy(load_saved(bandit).policy, tmp_path / "deep" / "policy")
    main(["show", str(tmp_path / "deep" / "policy")])
    assert names(tmp_path / "deep" / "policy_pictures") == {"action_density.png", "flow_paths.png", "index.html"}


def test_images_are_turned_as_sb3_turns_them(make_model, tmp_path, opened):
    gym.register("Images-v0", partial(FakeImageEnv, screen_height=36, screen_width=36, n_channels=1, discrete=False))
    small = {"features_extractor_kwargs": {"features_dim": 4}}
    model = make_model("Images-v0", "CnnPolicy", buffer_size=10, policy_kwargs=small)
    obs, _ = states(model, "Images-v0")
    assert obs.shape == (64, 1, 36, 36)
    del gym.registry["Images-v0"]


def test_goals_and_hindsight_need_no_environment(make_model, tmp_path):
    env = BitFlippingEnv(n_bits=3, continuous=True)
    model = make_model(env, "MultiInputPolicy", replay_buffer_class=HerReplayBuffer)
    model.save(tmp_path / "goals")
    loaded = load_saved(tmp_path / "goals.zip")
    assert loaded.buffer_size == 1
    obs, task = states(loaded, None)
    assert task is None and all(len(value) == len(next(iter(obs.values()))) for value in obs.values())
    np.testing.assert_array_equal(loaded.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0])


def test_numbers_without_a_bound_are_drawn_near_zero():
    largest = np.finfo(np.float32).max
    space = spaces.Dict(
        free=spaces.Box(-largest, largest, (200,)), half=spaces.Box(-1.0, largest, (200,)), n=spaces.Discrete(3)
    )
    drawn = _with_infinite_bounds(space).sample()
    assert np.abs(drawn["free"]).max() < 10 and -1.0 <= drawn["half"].min() and drawn["half"].max() < 20


def test_export_writes_the_policy(bandit, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    assert main(["export", str(bandit), str(tmp_path / "new" / "bandit.onnx"), "--deterministic"]) == 0
    assert capsys.readouterr().out.endswith("bandit.onnx\n")
    session = onnxruntime.InferenceSession(tmp_path / "new" / "bandit.onnx")
    obs = np.array([[0.3, 0.4]], np.float32)
    expected, _ = load_saved(bandit).predict(obs, deterministic=True)
    np.testing.assert_allclose(session.run(None, {"observation": obs})[0], expected, atol=1e-5)


def test_what_cannot_be_read_or_written_is_named(bandit, tmp_path, capsys, monkeypatch):
    SAC("MlpPolicy", "Pendulum-v1", buffer_size=10, policy_kwargs={"net_arch": [4]}).save(tmp_path / "sac")
    for model in ("absent.zip", tmp_path / "monitor.csv", tmp_path / "sac.zip", tmp_path):
        message = error_of(["show", model], capsys)
        assert "argument MODEL" in message and str(model) in message and f"{model}.zip" not in message
    assert "argument MODEL" in error_of(["export", tmp_path / "sac.zip", tmp_path / "policy.onnx"], capsys)
    assert "argument --env" in error_of(["show", bandit, "--env", "Pendulum-v1"], capsys)
    assert "argument --env" in error_of(["show", bandit, "--env", "Absent-v0"], capsys)
    with monkeypatch.context() as patch:
        patch.setattr("torch.onnx.export", None)  # which takes seconds: a file that cannot be written is named before
        for out in (tmp_path, bandit / "policy.onnx"):
            assert "argument OUT" in error_of(["export", bandit, out], capsys)
    assert "argument --out" in error_of(["show", bandit, "--out", bandit], capsys)
    monkeypatch.setattr("sb3_flowsac.files.export.NEEDED", ("onnx", "absent_package"))
    message = error_of(["export", bandit, tmp_path / "policy.onnx"], capsys)
    assert "flowsac export: " in message and 'pip install "sb3-flowsac[export]"' in message


def test_a_folder_gives_a_policy(tmp_path, make_model):
    save_policy(make_model("Pendulum-v1").policy, tmp_path)
    assert type(load_saved(tmp_path)) is FlowPolicy
