"""The command line: what its help says, where its options end up, how it refuses bad ones."""

import importlib.util
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import shtab

import maxent_envs
from sb3_flowsac import __version__
from sb3_flowsac.cli import build_parser, main
from sb3_flowsac.lqr_study.tasks import OtherStudyError


@pytest.fixture
def study(monkeypatch):
    """Put studies in place that note their name and arguments and do nothing."""
    calls = []
    for name in ("study", "full", "spi"):
        module = ModuleType(f"experiments.lqr.{name}")
        setattr(module, f"run_{name}", partial(note, calls, name))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def note(calls, name, **arguments):
    calls.append((name, arguments))


def exit_code(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


def test_help_says_the_common_tasks_first(capsys):
    assert exit_code(["--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(part) for part in ("flowsac lqr", "flowsac train --env", "flowsac enjoy --env", "commands:")]
    assert places == sorted(places)


def test_without_arguments_it_prints_the_help(capsys):
    assert main([]) == 0
    assert "common tasks" in capsys.readouterr().out


def test_lqr_help_names_every_preset(capsys):
    assert exit_code(["lqr", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in maxent_envs.preset_names())


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_options(capsys, shell):
    assert exit_code(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("lqr", "train", "enjoy", "problem", "alpha"))


def test_completion_completes_in_bash(tmp_path):
    bash = shutil.which("bash") or pytest.skip("no bash")
    script = f"""{shtab.complete(build_parser(), "bash")}
        cd {tmp_path}; touch my_lqr.yml; mkdir results
        complete_words() {{
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _shtab_flowsac; echo "${{COMPREPLY[*]}}"
        }}
        complete_words flowsac l
        complete_words flowsac lqr --fu
        complete_words flowsac lqr --problem my
        complete_words flowsac lqr --out ""
    """
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["lqr", "--full", "my_lqr.yml", "results"], done.stderr


@pytest.mark.parametrize(("flags", "folder"), [([], "flowsac_lqr"), (["--full", "--out", "mine"], "mine")])
def test_an_interrupted_study_says_how_to_go_on(study, monkeypatch, capsys, flags, folder):
    def interrupt(**_):
        raise KeyboardInterrupt

    for name in ("full", "study"):
        monkeypatch.setattr(sys.modules[f"experiments.lqr.{name}"], f"run_{name}", interrupt)
    arguments = ["lqr", *flags, "--seed", "3", "4"]
    assert main(arguments) == 130
    error = capsys.readouterr().err
    assert f"are in {folder}." in error
    assert error.splitlines()[-1].split() == ["flowsac", *arguments]


def test_version(capsys):
    assert exit_code(["--version"]) == 0
    assert capsys.readouterr().out == f"flowsac {__version__}\n"


def test_runs_as_a_module_and_leaves_the_heavy_rooms_alone():
    code = (
        "import runpy, sys; sys.argv = ['flowsac']\n"
        "try: runpy.run_module('sb3_flowsac', run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'torch', 'rl_zoo3', 'sb3_flowsac.lqr_study', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "common tasks" in done.stdout


def test_lqr_defaults(study):
    for arguments in (["lqr"], ["lqr", "--full"], ["lqr", "--spi"]):
        assert main(arguments) == 0
    common = {"problem": maxent_envs.preset(), "jobs": 1}
    case_study = {**common, "alphas": [0.1, 0.5, 1.0, 2.0], "seeds": [0, 1, 2, 3, 4]}
    full = {"out": Path("flowsac_lqr_full"), "timesteps": None, "command": "flowsac lqr --full"}
    assert study == [
        ("study", {**common, "alphas": [0.1, 0.5], "seeds": [0], "out": Path("flowsac_lqr"), "timesteps": None}),
        ("full", {**case_study, **full}),
        ("spi", {**case_study, "out": Path("flowsac_lqr_spi")}),
    ]


@pytest.mark.parametrize("kind", ["study", "full", "spi"])
def test_lqr_options_reach_the_study(study, tmp_path, kind):
    flags = {"study": ["--timesteps", "900"], "full": ["--full", "--timesteps", "900"], "spi": ["--spi"]}[kind]
    file = tmp_path / "mine.yml"
    file.write_text("A: [[1.1]]\nB: [[1.0]]\nQ: [[1.0]]\nR: [[1.0]]\n")
    lists = "--alpha 0.2 1 --seed 3 4 5 --jobs 2".split()
    assert main(["lqr", *flags, *lists, "--problem", str(file), "--out", str(tmp_path / "new" / "folder")]) == 0
    expected = {
        "problem": maxent_envs.load_problem(file),
        "alphas": [0.2, 1.0],
        "seeds": [3, 4, 5],
        "jobs": 2,
        "out": tmp_path / "new" / "folder",
    }
    ((name, arguments),) = study
    assert name == kind
    assert arguments.pop("timesteps", 900) == 900
    assert arguments.pop("command", "flowsac lqr --full").startswith("flowsac lqr --full")
    assert arguments == expected


def test_a_folder_of_another_study_is_named(tmp_path, capsys, monkeypatch):
    def run_study(**arguments):
        raise OtherStudyError("runs/a.json holds a result of another study")

    monkeypatch.setattr("sb3_flowsac.lqr_study.study.run_study", run_study)
    assert exit_code(["lqr", "--out", str(tmp_path)]) == 2
    assert "argument --out: runs/a.json holds a result of another study" in capsys.readouterr().err


def test_presets_and_random_systems_reach_the_study(study):
    main(["lqr", "--preset", "scalar"])
    main(["lqr", "--random", "4", "2", "7"])
    assert [arguments["problem"] for _, arguments in study] == [
        maxent_envs.preset("scalar"),
        maxent_envs.random_problem(4, 2, 7),
    ]


@pytest.mark.parametrize(
    ("arguments", "argument", "given"),
    [
        (["--alpha", "-1"], "--alpha", "'-1'"),
        (["--alpha", "0.1", "nan"], "--alpha", "'nan'"),
        (["--alpha", "hot"], "--alpha", "'hot'"),
        (["--alpha", "1e300"], "--alpha", "'1e300'"),
        (["--alpha", "1e-40"], "--alpha", "'1e-40'"),
        (["--alpha", "0.1", "0.10000001"], "--alpha", "first six digits"),
        (["--alpha"], "--alpha", "at least one"),
        (["--seed", "1.5"], "--seed", "'1.5'"),
        (["--seed", str(2**32)], "--seed", str(2**32)),
        (["--timesteps", "0"], "--timesteps", "'0'"),
        (["--jobs", "two"], "--jobs", "'two'"),
        (["--problem", "absent.yml"], "--problem", "'absent.yml'"),
        (["--problem", __file__], "--problem", "test_cli.py"),
        (["--preset", "bent"], "--preset", "'bent'"),
        (["--problem", __file__, "--preset", "default"], "--preset", "--problem"),
        (["--random", "4", "2"], "--random", "3 arguments"),
        (["--random", "0", "2", "1"], "--random", "n_states"),
        (["--random", "4", "2", "1", "--preset", "scalar"], "--preset", "--random"),
        (["--full", "--spi"], "--spi", "--full"),
        (["--full", "--seed", "1"], "--seed", "at least two"),
        (["--spi", "--timesteps", "10"], "--timesteps", "--spi"),
        (["--out", __file__], "--out", __file__),
        (["--out", f"{__file__}/below"], "--out", __file__),
        (["--horizon", "5"], "--horizon", "unrecognized"),
    ],
)
def test_bad_lqr_arguments_are_named(study, capsys, arguments, argument, given):
    assert exit_code(["lqr", *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert argument in error
    assert given in error
    assert study == []


def test_unknown_command_is_named(capsys):
    assert exit_code(["learn"]) == 2
    assert "'learn'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "tune", "enjoy", "plot", "record"])
def test_missing_extra_says_what_to_install(monkeypatch, command):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "requests" else found(name))
    message = exit_code([command, "--env", "Pendulum-v1"])
    assert f"flowsac {command}" in message
    assert "requests" in message
    assert 'pip install "sb3-flowsac[zoo]"' in message


@pytest.mark.parametrize(("command", "module"), [("plot", "seaborn"), ("record", "moviepy"), ("tune", "psutil")])
def test_missing_parts_of_the_extra_are_named(monkeypatch, command, module):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else found(name) or True)
    message = exit_code([command])
    assert f"flowsac {command}" in message and module in message
