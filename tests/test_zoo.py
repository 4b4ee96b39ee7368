"""FlowSAC in the RL Zoo: registration, settings, and runs of some steps through the command line."""

import argparse
import subprocess
import sys

import pytest
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
def no_display(empty_folder, monkeypatch):
    """Every test runs in a folder of its own, without a display."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def handed_over(monkeypatch):
    """Note what the Zoo would train, and end there."""
    seen = []

    def note(args, *_, **__):
        seen.append(args)
        raise SystemExit(0)

    monkeypatch.setattr(rl_zoo3.train, "ExperimentManager", note)
    return seen


def stopped(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


def test_registration_is_in_place_and_idempotent():
    table, others = rl_zoo3.ALGOS, {name: algo for name, algo in rl_zoo3.ALGOS.items() if name != "flowsac"}
    zoo.register()
    zoo.register()
    assert rl_zoo3.ALGOS is table is rl_zoo3.train.ALGOS is rl_zoo3.enjoy.ALGOS is rl_zoo3.exp_manager.ALGOS
    assert table == {**others, "flowsac": FlowSAC}


def test_train_has_defaults_of_ours_and_takes_the_zoos_arguments(handed_over):
    arguments = ["-P", "-n", "5", "--env=Pendulum-v1", "-params", "gamma:0.9", "--eval-freq", "-1"]
    for given in (["train", *arguments], ["train"], ["tune", "--env", "Pendulum-v1", "--n-trials", "3"]):
        assert stopped(given) == 0
    ours, default, tune = handed_over
    assert (ours.algo, ours.env, ours.conf_file) == ("flowsac", "Pendulum-v1", str(zoo.config_file()))
    assert (ours.progress, ours.n_timesteps, ours.eval_freq, ours.hyperparams) == (True, 5, -1, {"gamma": 0.9})
    assert (default.algo, default.env, default.optimize_hyperparameters) == ("flowsac", "MaxEntLQR-v0", False)
    assert (tune.optimize_hyperparameters, tune.env, tune.n_trials) == (True, "Pendulum-v1", 3)


def test_other_algorithms_keep_the_settings_of_the_zoo(handed_over):
    assert stopped(["train", "--algo", "ppo", "--env", "Pendulum-v1", "-params", "n_steps:8", "clip_range:0.1"]) == 0
    assert handed_over[0].conf_file is None


def test_parsing_is_pythons_own_after_an_error(monkeypatch):
    before = argparse.ArgumentParser.parse_args

    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(rl_zoo3.train, "ExperimentManager", fail)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            zoo.run("train", ["--env", "Pendulum-v1"])
        assert argparse.ArgumentParser.parse_args is before


@pytest.mark.parametrize("command", ["train", "tune", "enjoy", "record"])
def test_help_is_the_zoos_with_options_of_ours(capsys, command):
    assert stopped([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: flowsac {command}")
    assert "flowsac}" in text
    assert "--gym-packages" in text
    assert ("--resume FOLDER" in text) == (command == "train")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--env"], ["--env"]),
        (["train", "--env", "Pendulum-v1", "-conf", "absent.yml"], ["--conf-file", "absent.yml"]),
        (["train", "--resume", "here"], ["--resume", "--seed"]),
        (["train", "--resume", "here", "--seed", "-1"], ["--resume", "--seed"]),
        (["train", "--resume", "here", "--seed", "1.5"], ["--seed", "1.5"]),
        (["train", "--resume"], ["--resume"]),
        (["train", "--resume", "here", "--seed", "1", "--resume-freq", "0"], ["--resume-freq"]),
        (["train", "--resume", "here", "--seed", "1", "--algo", "sac"], ["--resume", "flowsac"]),
        (["train", "--resume", "here", "--seed", "1", "-optimize"], ["--resume", "search"]),
        (["enjoy", "--env", "Pendulum-v1"], ["--folder", "logs/flowsac", "flowsac train"]),
        (["enjoy", "--env", "Pendulum-v1", "-f", "elsewhere"], ["--folder", "elsewhere/flowsac"]),
        (["record", "--env", "Pendulum-v1"], ["--folder", "logs/flowsac", "flowsac train"]),
        (["tune", "--resume", "here"], ["--resume"]),
        (["plot"], ["required: NAME"]),
        (["plot", "train"], ["'train'", "plot_train", "all_plots", "plot_from_file"]),
    ],
)
def test_bad_arguments_are_named(capsys, arguments, said):
    assert stopped(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert all(part in error for part in said), error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "CartPole-v1"], ["Box", "Discrete(2)"]),
        (["--env", "Pendulum-v9"], ["Pendulum-v9", "Pendulum-v1"]),
        (["--env", "Pendulum-v1", "-params", "n_proposals:0"], ["n_proposals", "got 0"]),
        (["--env", "Pendulum-v1", "-params", "policy_kwargs:dict(net_arc=[8])"], ["'net_arc'", "net_arch"]),
        (["--env", "Pendulum-v1", "-params", "policy:'MlpPolcy'"], ["MlpPolcy"]),
        (["--env", "Pendulum-v1", "-i", "cut.zip"], ["cut.zip"]),
        (["--gym-packages", "no_such_module"], ["no_such_module"]),
        (["--track"], ["wandb"]),
    ],
)
def test_errors_in_the_zoo_are_one_line(arguments, said, empty_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    (empty_folder / "cut.zip").write_bytes(b"PK\x03\x04 the beginning of a zip file")
    message = stopped(["train", *arguments, "-n", "10", "--eval-freq", "-1"])
    assert message.startswith("flowsac train: error: ") and len(message.splitlines()) == 1
    assert all(part in message for part in said), message


def test_errors_of_an_environment_keep_their_traceback(monkeypatch):
    def fail(self, action):
        raise ValueError("the user's")

    monkeypatch.setattr("gymnasium.envs.classic_control.PendulumEnv.step", fail)
    with pytest.raises(ValueError, match="the user's"):
        main(["train", "--env", "Pendulum-v1", "-n", "10", "--eval-freq", "-1"])


@pytest.mark.parametrize("env", ["Pendulum-v1", "MaxEntLQR-v0"])
def test_train_then_enjoy(env, capsys, empty_folder):
    main(["train", "--algo", "flowsac", "--env", env, "-P", *QUICK])
    run = empty_folder / "logs" / "flowsac" / f"{env}_1"
    assert (run / f"{env}.zip").is_file()
    (empty_folder / "logs" / "flowsac" / f"{env}_2").mkdir()  # as an unfinished run or a search leaves it
    main(["enjoy", "--algo", "flowsac", "--env", env, "-n", "400"])
    said = capsys.readouterr().out
    assert "No display" in said  # and no drawing, which would take minutes
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
    main(
        [
            "train",
            "--env",
            "Pendulum-v1",
            "-i",
            "logs/flowsac/Pendulum-v1_1/Pendulum-v1.zip",
            *QUICK,
            *several,
            "ent_coef:0.3",
        ]
    )
    assert [model.replay_buffer.buffer_size for model in loaded] == [1, 5000]
    assert rl_zoo3.ALGOS["flowsac"] is FlowSAC
    assert loaded[1].num_timesteps == 120
    assert loaded[1].current_ent_coef() == pytest.approx(0.3)  # it was learnt in the first run


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
        (["--exp-id", "5"], 5),
    ],
)
def test_the_latest_run_that_holds_the_model_asked_for(monkeypatch, empty_folder, options, number):
    seen = []

    def note(*arguments):
        seen.append(arguments)
        raise SystemExit

    monkeypatch.setattr(rl_zoo3.enjoy, "get_model_path", note)
    files = ["Pendulum-v1.zip", "best_model.zip", "rl_model_50_steps.zip", "rl_model_70_steps.zip"]
    for i, file in enumerate(files, start=1):
        run = empty_folder / "logs" / "flowsac" / f"Pendulum-v1_{i}"
        run.mkdir(parents=True)
        (run / file).touch()
    stopped(["enjoy", "--env", "Pendulum-v1", *options])
    assert seen[0][:4] == (number, "logs", "flowsac", "Pendulum-v1")


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


@pytest.mark.parametrize("display", [True, False])
def test_plots(display, empty_folder, monkeypatch, capsys):
    """From training over the evaluations' table to a picture; without a display the figures are files."""
    shown = []
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: shown.append(True))
    monkeypatch.setattr("sb3_flowsac.zoo.programs.has_display", lambda: display)
    for _ in range(2):  # the Zoo's plot_from_file wants more than one run
        main(["train", "--env", "MaxEntLQR-v0", *QUICK, "n_envs:1", "--eval-freq", "40"])
    main(["plot", "plot_train", "-w", "2"])
    main(["plot", "all_plots", "--no-million", "-o", "evaluations"])
    assert "|MaxEntLQR-v0|" in capsys.readouterr().out
    main(["plot", "plot_from_file", "-i", "evaluations.pkl", "-o", "curves.svg"])
    assert (empty_folder / "curves.svg").read_text().startswith("<?xml")
    assert len(shown) == 3
    written = {path.name.rpartition("_")[0] for path in empty_folder.glob("*.png")}
    assert written == (set() if display else {"plot_train", "all_plots", "plot_from_file"})


@pytest.mark.parametrize(("env", "options"), [("MaxEntLQR-v0", ["-w", "99"]), ("Pendulum-v1", ["-w", "1"])])
def test_a_plot_of_too_few_episodes_is_refused(env, options, capsys):
    """The Zoo's would be empty."""
    main(["train", "--env", "MaxEntLQR-v0", *QUICK, "--eval-freq", "-1"])
    assert stopped(["plot", "plot_train", "--env", env, *options]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--episode-window" in error and env in error and options[1] in error


def test_plots_list_their_options(capsys):
    assert stopped(["plot", "all_plots", "--help"]) == 0
    assert "--no-million" in capsys.readouterr().out


def test_the_zoos_own_command_with_one_line_beside_it(empty_folder):
    (empty_folder / "custom_envs.py").write_text("from sb3_flowsac.zoo import register; register()\n")
    done = subprocess.run([sys.executable, "-m", "rl_zoo3.train", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ",flowsac}" in done.stdout
