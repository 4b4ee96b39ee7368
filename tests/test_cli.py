"""The command line: what its help says, where its options end up, how it refuses bad ones."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import shtab

import maxent_envs
from sb3_flowsac import FlowSAC, __version__
from sb3_flowsac.cli import build_parser, main


@pytest.fixture
def study(monkeypatch):
    """A study that notes its arguments and finds nothing."""
    calls = []
    monkeypatch.setattr("sb3_flowsac.lqr_study.study.run_study", lambda **arguments: calls.append(arguments) or [])
    return calls


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
    text = re.sub(r"-\s+", "-", capsys.readouterr().out)  # names are broken at their hyphens
    assert all(name in text for name in maxent_envs.PRESETS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_completion_knows_commands_and_options(capsys, shell):
    assert exit_code(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("lqr", "train", "enjoy", "problem", "alpha"))
    assert all(word in script for word in ("tune", "record", "plot_train"))


def completed(parser, lines, folder):
    """What bash offers for the last word of each command line."""
    bash = shutil.which("bash") or pytest.skip("no bash")
    script = f"""{shtab.complete(parser, "bash")}
        cd {folder}
        complete_words() {{
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _shtab_flowsac; echo "${{COMPREPLY[*]}}"
        }}
    """
    script += "\n".join(f"complete_words {line}" for line in lines)
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True)
    assert not done.stderr
    return dict(zip(lines, done.stdout.splitlines(), strict=True))


def test_completion_completes_in_bash(tmp_path):
    (tmp_path / "my_lqr.yml").touch()
    (tmp_path / "results").mkdir()
    expected = {
        "flowsac l": "lqr",
        "flowsac lqr --ti": "--timesteps",
        "flowsac lqr --problem my": "my_lqr.yml",
        'flowsac lqr --out ""': "results",
        "flowsac tr": "train",
        "flowsac plot plot_t": "plot_train",
    }
    assert completed(build_parser(), expected, tmp_path) == expected


def test_completion_knows_the_zoos_options(tmp_path):
    pytest.importorskip("rl_zoo3")
    expected = {
        "flowsac train --eval-f": "--eval-freq",
        "flowsac train --algo flow": "flowsac",
        "flowsac train --resume-": "--resume-freq",
        "flowsac tune --n-trials": "--n-trials",
        "flowsac enjoy --pretr": "--pretrained",
        "flowsac enjoy --load-b": "--load-best",
        "flowsac record --gym": "--gym-packages",
        "flowsac plot plot_t": "plot_train",
        "flowsac plot all_plots --exp": "--exp-folders",
    }
    assert completed(build_parser(zoo_options=True), expected, tmp_path) == expected


@pytest.mark.parametrize(("flags", "folder"), [([], "flowsac_lqr"), (["--out", "mine"], "mine")])
def test_an_interrupted_study_says_how_to_go_on(monkeypatch, capsys, flags, folder):
    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sb3_flowsac.lqr_study.study.run_study", interrupt)
    arguments = ["lqr", *flags, "--seed", "3", "4"]
    assert main(arguments) == 130
    error = capsys.readouterr().err
    assert folder in error
    assert error.splitlines()[-1].split() == ["flowsac", *arguments]


@pytest.mark.skipif(os.name != "posix", reason="signals to a group of processes")
@pytest.mark.parametrize("ignored", [False, True])
def test_an_interrupt_ends_the_runs_of_all_processes_or_of_none(ignored, tmp_path):
    def set_signal():  # whatever the tests were started under
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)

    options = ["--alpha", "1", "--seed", "0", "1", "2", "--jobs", "2", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "sb3_flowsac", "lqr", *options]
    kwargs = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True, "preexec_fn": set_signal}
    with subprocess.Popen(command, **kwargs) as process:
        deadline = time.monotonic() + 120.0
        while len(list(tmp_path.glob("tensorboard/*"))) < 2:  # both processes learn
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        if ignored:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(3.0)
            os.killpg(process.pid, signal.SIGKILL)
            return
        error = process.communicate(timeout=20.0)[1]
    assert process.returncode == 130
    assert "Interrupted" in error and "Traceback" not in error


@pytest.mark.parametrize(("verdicts", "code"), [([], 0), (["met", None], 0), (["met", "failed"], 1)])
def test_a_failed_run_gives_an_exit_code(monkeypatch, verdicts, code):
    rows = [{} if verdict is None else {"verdict": verdict} for verdict in verdicts]
    monkeypatch.setattr("sb3_flowsac.lqr_study.study.run_study", lambda **_: rows)
    assert main(["lqr"]) == code


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
    assert main(["lqr"]) == 0
    defaults = {"alphas": [0.1, 0.5], "seeds": [0], "timesteps": None, "jobs": 1, "out": Path("flowsac_lqr")}
    assert study == [{"problem": maxent_envs.preset(), **defaults}]


def test_lqr_options_reach_the_study(study, tmp_path):
    file = tmp_path / "mine.yml"
    file.write_text("A: [[1.1]]\nB: [[1.0]]\nQ: [[1.0]]\nR: [[1.0]]\n")
    lists = "--timesteps 900 --alpha 0.2 1 --seed 3 4 5 --jobs 2".split()
    assert main(["lqr", *lists, "--problem", str(file), "--out", str(tmp_path / "new" / "folder")]) == 0
    given = {"alphas": [0.2, 1.0], "seeds": [3, 4, 5], "timesteps": 900, "jobs": 2, "out": tmp_path / "new" / "folder"}
    assert study == [{"problem": maxent_envs.load_problem(file), **given}]


def test_a_folder_of_another_study_is_named(tmp_path, monkeypatch):
    def run_study(**arguments):
        raise ValueError("runs/a.json holds a result of another study")

    monkeypatch.setattr("sb3_flowsac.lqr_study.study.run_study", run_study)
    assert "runs/a.json" in exit_code(["lqr", "--out", str(tmp_path)])


def test_presets_and_random_systems_reach_the_study(study):
    main(["lqr", "--preset", "scalar"])
    main(["lqr", "--random", "4", "2", "7"])
    assert [arguments["problem"] for arguments in study] == [
        maxent_envs.preset("scalar"),
        maxent_envs.random_problem(4, 2, 7),
    ]


@pytest.mark.parametrize(
    ("arguments", "argument", "given"),
    [
        (["--alpha", "-1"], "alpha", "-1"),
        (["--alpha", "0.1", "nan"], "alpha", "nan"),
        (["--alpha", "hot"], "--alpha", "'hot'"),
        (["--alpha", "0.1", "0.10000001"], "alphas", "digits"),
        (["--alpha"], "--alpha", "at least one"),
        (["--seed", "1.5"], "--seed", "'1.5'"),
        (["--seed", "-1"], "seed", "-1"),
        (["--timesteps", "0"], "timesteps", "0"),
        (["--jobs", "two"], "--jobs", "'two'"),
        (["--jobs", "0"], "jobs", "0"),
        (["--problem", "absent.yml"], "--problem", "absent.yml"),
        (["--problem", __file__], "--problem", "test_cli.py"),
        (["--preset", "bent"], "--preset", "'bent'"),
        (["--problem", __file__, "--preset", "default"], "--preset", "--problem"),
        (["--random", "4", "2"], "--random", "3 arguments"),
        (["--random", "0", "2", "1"], "--random", "n_states"),
        (["--random", "4", "2", "1", "--preset", "scalar"], "--preset", "--random"),
        (["--out", __file__], "--out", __file__),
        (["--out", f"{__file__}/below"], "--out", __file__),
        (["--horizon", "5"], "--horizon", "unrecognized"),
    ],
)
def test_bad_lqr_arguments_are_named(capsys, monkeypatch, tmp_path, arguments, argument, given):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FlowSAC, "learn", lambda *_, **__: pytest.fail("trains"))
    code = exit_code(["lqr", *arguments])
    error = code if isinstance(code, str) else capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("flowsac") and argument in error and given in error
    assert not list(tmp_path.rglob("*.*"))


def test_unknown_command_is_named(capsys):
    for word, near in (("learn", ""), ("trian", "train"), ("lrq", "lqr"), ("exprot", "export"), ("enjoyy", "enjoy")):
        assert exit_code([word]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert repr(word) in error and near in error


@pytest.mark.parametrize("command", ["train", "tune", "enjoy", "plot", "record"])
def test_missing_extra_says_what_to_install(monkeypatch, command):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "requests" else found(name))
    message = exit_code([command, "--env", "Pendulum-v1"])
    assert f"flowsac {command}" in message
    assert "requests" in message
    assert 'pip install "sb3-flowsac[zoo]"' in message


@pytest.mark.parametrize(("command", "module"), [("plot", "seaborn"), ("record", "moviepy")])
def test_missing_parts_of_the_extra_are_named(monkeypatch, command, module):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else found(name) or True)
    message = exit_code([command])
    assert f"flowsac {command}" in message and module in message
