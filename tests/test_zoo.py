"""FlowSAC in the RL Zoo: registration, settings, and runs of some steps through the command line."""

import inspect
import subprocess
import sys

import pytest
import torch
import yaml

pytest.importorskip("rl_zoo3")
pytest.importorskip("requests")

import rl_zoo3
import rl_zoo3.enjoy
import rl_zoo3.train

from sb3_flowsac import FlowSAC, zoo
from sb3_flowsac.cli import main

# Few and small updates: these runs test the way, not what is learnt
QUICK = ["-n", "120", "--seed", "1", "-params", "learning_starts:100", "train_freq:10", "batch_size:32"]
ZOO_KEYS = {"n_timesteps", "n_envs", "normalize", "env_wrapper", "env_kwargs", "frame_stack", "callback"}
ZOO_KEYS |= {"noise_type", "noise_std"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Every test runs in a folder of its own, on one thread: the cores may be busy."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture
def handed_over(monkeypatch):
    """Replace the Zoo's functions by one that notes the command line it would read."""
    seen = []
    for module in (rl_zoo3.train, rl_zoo3.enjoy):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, name, lambda: seen.append(list(sys.argv)))
    return seen


def test_registration_is_in_place_and_idempotent():
    table, others = rl_zoo3.ALGOS, {name: algo for name, algo in rl_zoo3.ALGOS.items() if name != "flowsac"}
    zoo.register()
    zoo.register()
    assert rl_zoo3.ALGOS is table is rl_zoo3.train.ALGOS is rl_zoo3.enjoy.ALGOS is rl_zoo3.exp_manager.ALGOS
    assert table == {**others, "flowsac": FlowSAC}


def test_settings_know_only_what_the_zoo_and_flowsac_know():
    entries = yaml.safe_load(zoo.config_file().read_text())
    assert {"MaxEntLQR-v0", "Pendulum-v1", "HalfCheetah-v5"} <= entries.keys()
    allowed = ZOO_KEYS | set(inspect.signature(FlowSAC).parameters)
    for name, entry in entries.items():
        assert entry.keys() <= allowed, name
        assert entry["n_timesteps"] > 0
        assert entry["policy"] in FlowSAC.policy_aliases


def test_train_gets_defaults_first_and_the_arguments_unaltered(handed_over):
    before = list(sys.argv)
    arguments = ["-P", "-n", "5", "--env=Pendulum-v1", "-params", "gamma:0.9", "--eval-freq", "-1"]
    main(["train", *arguments])
    settings = ["--conf-file", str(zoo.config_file())]
    assert handed_over == [["flowsac train", "--algo", "flowsac", "--env", "MaxEntLQR-v0", *settings, *arguments]]
    assert sys.argv == before


def test_other_algorithms_keep_the_settings_of_the_zoo(handed_over):
    main(["train", "--algo", "sac", "--env", "Pendulum-v1"])
    assert "--conf-file" not in handed_over[0]


def test_command_line_is_restored_after_an_error(monkeypatch):
    def fail():
        raise RuntimeError

    before = list(sys.argv)
    monkeypatch.setattr(rl_zoo3.train, "train", fail)
    with pytest.raises(RuntimeError):
        zoo.train(["--env", "Pendulum-v1"])
    assert sys.argv == before


@pytest.mark.parametrize("command", ["train", "enjoy"])
def test_help_is_the_zoos(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: flowsac {command}") or "sb3_flowsac" in text.splitlines()[0]
    assert "flowsac}" in text
    assert "--gym-packages" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--env", "Pendulum-v9"], ["--env", "'Pendulum-v9'", "Pendulum-v1"]),
        (["train", "--env"], ["--env"]),
        (["train", "--env", "Pendulum-v1", "-conf", "absent.yml"], ["--conf-file", "absent.yml"]),
        (["enjoy", "--env", "Pendulum-v9"], ["--env", "'Pendulum-v9'", "Pendulum-v1"]),
        (["enjoy", "--env", "Pendulum-v1"], ["--folder", "logs/flowsac", "flowsac train"]),
        (["enjoy", "--env", "Pendulum-v1", "-f", "elsewhere"], ["--folder", "elsewhere/flowsac"]),
    ],
)
def test_bad_arguments_are_named(capsys, arguments, said):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert all(part in error for part in said), error


@pytest.mark.parametrize("env", ["Pendulum-v1", "MaxEntLQR-v0"])
def test_train_then_enjoy(env, capsys, empty_folder):
    main(["train", "--algo", "flowsac", "--env", env, "-P", *QUICK])
    run = empty_folder / "logs" / "flowsac" / f"{env}_1"
    assert (run / f"{env}.zip").is_file()
    (empty_folder / "logs" / "flowsac" / f"{env}_2").mkdir()  # as an unfinished run or a search leaves it
    main(["enjoy", "--algo", "flowsac", "--env", env, "--no-render", "-n", "400"])
    said = capsys.readouterr().out
    assert f"Loading logs/flowsac/{env}_1/{env}.zip" in said
    assert "Mean reward: " in said


def test_enjoy_loads_without_memory_and_training_goes_on_with_it(monkeypatch, capsys):
    loaded = []

    def load(cls, *args, **kwargs):
        loaded.append(super(FlowSAC, cls).load(*args, **kwargs))
        return loaded[-1]

    monkeypatch.setattr(FlowSAC, "load", classmethod(load), raising=False)
    main(["train", "--env", "Pendulum-v1", *QUICK, "buffer_size:5000"])
    main(["enjoy", "--env", "Pendulum-v1", "--no-render", "-n", "3"])
    main(["train", "--env", "Pendulum-v1", "-i", "logs/flowsac/Pendulum-v1_1/Pendulum-v1.zip", *QUICK])
    assert [model.replay_buffer.buffer_size for model in loaded] == [1, 5000]
    assert rl_zoo3.ALGOS["flowsac"] is FlowSAC
    assert loaded[1].num_timesteps == 120


def test_settings_from_a_file_of_the_user(capsys, empty_folder):
    settings = {"Pendulum-v1": {"n_timesteps": 30, "policy": "FlowPolicy", "gamma": 0.9, "learning_starts": 100}}
    (empty_folder / "mine.yml").write_text(yaml.safe_dump(settings))
    main(["train", "--env", "Pendulum-v1", "--conf-file", "mine.yml", "--eval-freq", "-1"])
    assert "Loading hyperparameters from: mine.yml" in capsys.readouterr().out
    assert FlowSAC.load("logs/flowsac/Pendulum-v1_1/Pendulum-v1.zip").gamma == 0.9


def test_environment_arguments_are_kept_for_enjoy(capsys):
    main(["train", "--env", "MaxEntLQR-v0", "--env-kwargs", "preset:'scalar'", *QUICK])
    main(["enjoy", "--env", "MaxEntLQR-v0", "--no-render", "-n", "100"])
    assert "Mean reward: " in capsys.readouterr().out
    assert FlowSAC.load("logs/flowsac/MaxEntLQR-v0_1/MaxEntLQR-v0.zip").action_space.shape == (1,)


def test_environments_in_worker_processes(empty_folder):
    main(["train", "--env", "MaxEntLQR-v0", "--vec-env", "subproc", *QUICK, "n_envs:2"])
    assert (empty_folder / "logs" / "flowsac" / "MaxEntLQR-v0_1" / "MaxEntLQR-v0.zip").is_file()


def test_the_zoos_own_command_with_one_line_beside_it(empty_folder):
    (empty_folder / "custom_envs.py").write_text("from sb3_flowsac.zoo import register; register()\n")
    done = subprocess.run([sys.executable, "-m", "rl_zoo3.train", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ",flowsac}" in done.stdout
