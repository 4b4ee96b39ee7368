"""The benchmarks can be started: they import what exists and say what they take."""

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "experiments" / "benchmarks"
BENCHMARKS = sorted([*FOLDER.glob("*.py"), *(path.parent for path in FOLDER.glob("*/__main__.py"))])


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_help(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(path), run_name="__main__")
    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out
