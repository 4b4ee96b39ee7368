"""The examples of experiment trackers run where the trackers are installed, and say what is missing where not."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples" / "tracking"


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_example(package, tmp_path):
    paths = [str(FOLDER.parent.parent), str(FOLDER.parent.parent / "envs"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "WANDB_MODE": "offline", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(FOLDER / f"{package}_run.py"), "--steps", "210"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    if importlib.util.find_spec(package) is None:
        assert done.returncode == 1 and f"pip install {package}" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert "Logged" in done.stdout
