"""FlowSAC in the RL Zoo: registration, settings, and runs of some steps through the command line."""

import re
import signal
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


def test_train_gets_defaults_first_and_the_arguments_unaltered(handed_over):
    before = list(sys.argv)
    arguments = ["-P", "-n", "5", "--env=Pendulum-v1", "-params", "gamma:0.9", "--eval-freq", "-1"]
    main(["train", *arguments])
    settings = ["--conf-file", str(zoo.config_file())]
    assert handed_over == [["flowsac train", "--algo", "flowsac", "--env", "MaxEntLQR-v0", *settings, *arguments]]
    assert sys.argv == before


def test_tune_is_train_with_a_search(handed_over):
    main(["tune", "--env", "Pendulum-v1", "--n-trials", "3"])
    settings = ["--conf-file", str(zoo.config_file())]
    asked = ["-optimize", "--env", "Pendulum-v1", "--n-trials", "3"]
    assert handed_over == [["flowsac tune", "--algo", "flowsac", "--env", "MaxEntLQR-v0", *settings, *asked]]


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


@pytest.mark.parametrize("command", ["train", "tune", "enjoy", "record"])
def test_help_is_the_zoos(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: flowsac {command}") or "sb3_flowsac" in text.splitlines()[0]
    assert "flowsac}" in text
    assert "--gym-packages" in text
    assert ("--resume FOLDER" in text) == (command == "train")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--env", "Pendulum-v9"], ["--env", "'Pendulum-v9'", "Pendulum-v1"]),
        (["train", "--env"], ["--env"]),
        (["train", "--env", "Pendulum-v1", "-conf", "absent.yml"], ["--conf-file", "absent.yml"]),
        (["train", "--resume", "here"], ["--resume", "--seed"]),
        (["train", "--resume", "here", "--seed", "-1"], ["--resume", "--seed"]),
        (["train", "--resume", "here", "--seed", "1.5"], ["--seed", "1.5"]),
        (["train", "--resume", __file__, "--seed", "1"], ["--resume", __file__]),
        (["train", "--resume"], ["--resume"]),
        (["train", "--resume", "here", "--seed", "1", "--resume-freq", "0"], ["--resume-freq", "'0'"]),
        (["train", "--resume-freq", "5"], ["--resume-freq", "--resume FOLDER"]),
        (["train", "--resume", "here", "--seed", "1", "--algo", "sac"], ["--resume", "'sac'", "flowsac"]),
        (["train", "--resume", "here", "--seed", "1", "-optimize"], ["--resume", "--optimize-hyperparameters"]),
        (["enjoy", "--env", "Pendulum-v9"], ["--env", "'Pendulum-v9'", "Pendulum-v1"]),
        (["enjoy", "--env", "Pendulum-v1"], ["--folder", "logs/flowsac", "flowsac train"]),
        (["enjoy", "--env", "Pendulum-v1", "-f", "elsewhere"], ["--folder", "elsewhere/flowsac"]),
        (["record", "--env", "Pendulum-v9"], ["--env", "'Pendulum-v9'", "Pendulum-v1"]),
        (["record", "--env", "Pendulum-v1"], ["--folder", "logs/flowsac", "flowsac train"]),
        (["plot"], ["required: plot"]),
        (["plot", "train"], ["'train'", "plot_train", "all_plots", "plot_from_file"]),
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
    several = ["n_steps:3", "sampling_distribution:'defensive'"]  # of a buffer's own class; a name that is looked up
    main(["train", "--env", "Pendulum-v1", *QUICK, "buffer_size:5000", *several])
    main(["enjoy", "--env", "Pendulum-v1", "--no-render", "-n", "3"])
    main(["train", "--env", "Pendulum-v1", "-i", "logs/flowsac/Pendulum-v1_1/Pendulum-v1.zip", *QUICK, *several])
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


# What is replayed


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ([], 1),
        (["--load-best"], 2),
        (["--load-checkpoint", "50"], 3),
        (["--load-last-checkpoint"], 4),
        (["--exp-id", "5"], None),
    ],
)
def test_the_latest_run_that_holds_the_model_asked_for(handed_over, empty_folder, options, number):
    files = ["Pendulum-v1.zip", "best_model.zip", "rl_model_50_steps.zip", "rl_model_70_steps.zip"]
    for i, file in enumerate(files, start=1):
        run = empty_folder / "logs" / "flowsac" / f"Pendulum-v1_{i}"
        run.mkdir(parents=True)
        (run / file).touch()
    main(["enjoy", "--env", "Pendulum-v1", *options])
    (seen,) = handed_over
    assert seen[1:7] == ["--algo", "flowsac", "--env", "MaxEntLQR-v0", "--folder", "logs"]
    assert seen[7:] == ["--env", "Pendulum-v1", *options, *([] if number is None else ["--exp-id", str(number)])]


@pytest.mark.parametrize("env", ["MaxEntLQR-v0", "MultiGoal-v0"])
def test_a_video(env, empty_folder, monkeypatch, capfd):
    """The LQR's settings have a Box of their own, which the Zoo's record_video would forget and then refuse the
    model."""
    pytest.importorskip("moviepy")
    loaded = []
    load = FlowSAC.load.__func__
    monkeypatch.setattr(
        FlowSAC,
        "load",
        classmethod(lambda cls, *args, **kwargs: loaded.append(load(cls, *args, **kwargs)) or loaded[-1]),
    )
    main(["train", "--env", env, *QUICK, "--eval-freq", "-1"])
    main(["record", "--env", env, "-n", "12"])
    (video,) = (empty_folder / "logs" / "flowsac" / f"{env}_1" / "videos").iterdir()
    assert video.suffix == ".mp4" and video.stat().st_size > 1000
    assert [model.replay_buffer.buffer_size for model in loaded] == [1]
    assert rl_zoo3.utils.create_test_env.__module__ == "rl_zoo3.utils"


def test_a_video_of_an_environment_of_the_users(empty_folder, monkeypatch, capfd):
    pytest.importorskip("moviepy")
    (empty_folder / "my_envs.py").write_text(
        "import gymnasium as gym\ngym.register('Mine-v0', 'maxent_envs.multi_goal:MultiGoalEnv', max_episode_steps=9)\n"
    )
    monkeypatch.syspath_prepend(empty_folder)
    package = ["--gym-packages", "my_envs"]
    main(["train", "--env", "Mine-v0", *package, *QUICK, "--eval-freq", "-1"])
    main(["record", "--env", "Mine-v0", *package, "-n", "9", "-o", "films"])
    assert [path.suffix for path in (empty_folder / "films").iterdir()] == [".mp4"]


def test_plots(empty_folder, monkeypatch, capsys):
    """From training over the evaluations' table to a picture, with the Zoo's own files in between."""
    shown = []
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: shown.append(True))
    for _ in range(2):  # the Zoo's plot_from_file wants more than one run
        main(["train", "--env", "MaxEntLQR-v0", *QUICK, "n_envs:1", "--eval-freq", "40"])
    main(["plot", "plot_train", "-w", "2"])
    main(["plot", "all_plots", "--no-million", "-o", "evaluations"])
    assert "|MaxEntLQR-v0|" in capsys.readouterr().out
    main(["plot", "plot_from_file", "-i", "evaluations.pkl", "-o", "curves.svg"])
    assert (empty_folder / "curves.svg").read_text().startswith("<?xml")
    assert len(shown) == 3


def test_plots_list_their_options(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["plot", "all_plots", "--help"])
    assert stop.value.code == 0
    assert "--no-million" in capsys.readouterr().out


# Runs that go on


def parameters(number):
    model = FlowSAC.load(f"logs/flowsac/MaxEntLQR-v0_{number}/MaxEntLQR-v0.zip", device="cpu")
    return [*model.policy.state_dict().values(), model.entropy_coefficient()]


def test_a_killed_run_goes_on_by_the_same_command(empty_folder, monkeypatch):
    """SIGKILL in the middle of training; evaluations and a callback of the user's are there in both."""
    (empty_folder / "mine.py").write_text(
        "from stable_baselines3.common.callbacks import BaseCallback\n"
        "class Mine(BaseCallback):\n"
        "    def _on_step(self):\n"
        "        print(f'mine at {self.num_timesteps}', flush=True)\n"
        "        return True\n"
    )
    monkeypatch.syspath_prepend(empty_folder)
    quick = [
        "learning_starts:100",
        "train_freq:10",
        "batch_size:32",
        "n_envs:2",
        "normalize:True",
        "callback:'mine.Mine'",
    ]
    command = ["train", "--num-threads", "1", "-n", "400", "--seed", "1", "--eval-freq", "150", "-params", *quick]
    main(command)
    resumed = [sys.executable, "-m", "sb3_flowsac", *command, "--resume", "kept", "--resume-freq", "40"]
    with subprocess.Popen(resumed, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line == "mine at 290\n":
                process.kill()
    assert process.returncode == -signal.SIGKILL
    said = subprocess.run(resumed, capture_output=True, text=True, check=True).stdout
    start = int(re.search(r"Resuming at step (\d+) from kept/checkpoint", said).group(1))
    assert 200 <= start < 290 and f"mine at {start + 2}\n" in said and f"mine at {start}\n" not in said
    assert (empty_folder / "logs" / "flowsac" / "MaxEntLQR-v0_3" / "evaluations.npz").is_file()
    for ours, theirs in zip(parameters(3), parameters(1), strict=True):
        assert torch.equal(ours, theirs)
    main(["enjoy", "--no-render", "-n", "20"])


def test_a_checkpoint_of_an_interrupted_gradient_step_is_none(monkeypatch, empty_folder):
    """Ctrl-C in the last gradient steps: the Zoo tells the first callback that training has ended."""

    def interrupted(self, batch_size, env):
        raise KeyboardInterrupt

    command = ["train", *QUICK, "--resume", "kept", "--resume-freq", "1000", "--eval-freq", "-1"]
    with monkeypatch.context() as patch:
        patch.setattr("stable_baselines3.common.buffers.ReplayBuffer.sample", interrupted)
        main(command)
    assert not (empty_folder / "kept").exists()
    main([part.replace("kept", "other") for part in command])
    assert [path.name for path in (empty_folder / "other").iterdir()] == ["checkpoint-000000000160.npz"]


def test_a_checkpoint_of_other_settings_is_refused(empty_folder):
    main(["train", *QUICK, "--resume", "kept"])
    with pytest.raises(
        ValueError, match=r"kept/checkpoint-0+160.npz is a checkpoint of another run: gamma was .*, now 0\.9"
    ):
        main(["train", *QUICK, "gamma:0.9", "--resume", "kept"])
    assert rl_zoo3.train.ExperimentManager is rl_zoo3.exp_manager.ExperimentManager


def test_the_zoos_own_command_with_one_line_beside_it(empty_folder):
    (empty_folder / "custom_envs.py").write_text("from sb3_flowsac.zoo import register; register()\n")
    done = subprocess.run([sys.executable, "-m", "rl_zoo3.train", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ",flowsac}" in done.stdout
