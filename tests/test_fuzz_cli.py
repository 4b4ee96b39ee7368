"""Whatever an option of the command line is given: the study gets its value, or the message names the option."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxent_envs import LQRProblem, load_problem
from sb3_flowsac.cli import main

OPTIONS = ["--alpha", "--seed", "--preset", "--problem", "--timesteps", "--jobs", "--out"]
NUMBERS = (st.integers() | st.floats()).map(str)
WORDS = st.sampled_from(["", " ", ".", "..", "/", "~", "x" * 300, "a/" * 3000, "٣", "²", "1_000", "0x10", "default"])
TEXTS = NUMBERS | WORDS | st.text(max_size=12)


@pytest.fixture(scope="module")
def study():
    """A study that notes its arguments and does nothing."""
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sb3_flowsac.lqr_study.study.run_study", lambda **arguments: calls.append(arguments) or [])
        yield calls


def check(option, text, study, capsys):
    study.clear()
    try:
        code = main(["lqr", f"{option}={text}"])
    except SystemExit as stop:
        assert stop.code == 2 and option in capsys.readouterr().err and not study
    else:
        capsys.readouterr()
        assert code == 0 and len(study) == 1


@pytest.mark.parametrize("option", OPTIONS)
def test_options(option, study, capsys):
    settings(max_examples=40)(given(TEXTS)(lambda text: check(option, text, study, capsys)))()


@pytest.mark.study
@pytest.mark.parametrize("option", OPTIONS)
def test_options_with_many_values(option, study, capsys):
    settings(max_examples=2000)(given(TEXTS)(lambda text: check(option, text, study, capsys)))()


CONTENT = (
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.just(b"A: [[1]]\nB: [[1]]\nQ: [[1]]\nR: [[1]]\n")
)


@pytest.mark.parametrize("suffix", [".yml", ".json", ".npz"])
def test_problem_files(tmp_path, suffix):
    path = tmp_path / f"system{suffix}"

    @settings(max_examples=40)
    @given(CONTENT)
    def read(content):
        path.write_bytes(content)
        try:
            assert isinstance(load_problem(path), LQRProblem)
        except ValueError as error:
            assert path.name in str(error)

    read()
