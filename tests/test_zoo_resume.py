"""``flowsac train --resume``: checkpoints from which the same command goes on."""

import re
import signal
import subprocess
import sys

import pytest
import torch

pytest.importorskip("rl_zoo3")

from sb3_flowsac import FlowSAC
from sb3_flowsac.cli import main
from sb3_flowsac.files.checkpoints import read_checkpoint

# Few and small updates: these runs test the way, not what is learnt
QUICK = ["-n", "120", "--seed", "1", "-params", "learning_starts:100", "train_freq:10", "batch_size:32"]
pytestmark = pytest.mark.usefixtures("empty_folder")


def parameters(number):
    model = FlowSAC.load(f"logs/flowsac/MaxEntLQR-v0_{number}/MaxEntLQR-v0.zip", device="cpu")
    return [*model.policy.state_dict().values(), model.entropy_coefficient()]


def test_a_killed_run_goes_on_by_the_same_command(empty_folder, monkeypatch, capfd):
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
    resumed = [*command, "--resume", "kept", "--resume-freq", "40"]
    program = [sys.executable, "-m", "sb3_flowsac", *resumed]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line == "mine at 290\n":
                process.kill()
    assert process.returncode == -signal.SIGKILL
    capfd.readouterr()
    main(resumed)
    said = capfd.readouterr().out
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
    path = empty_folder / "kept" / "checkpoint.zip"
    assert read_checkpoint(path)["attributes"]["num_timesteps"] == 0  # from before
    main(command)
    assert read_checkpoint(path)["attributes"]["num_timesteps"] == 160


def test_a_checkpoint_of_other_settings_is_refused(empty_folder):
    main(["train", *QUICK, "--resume", "kept"])
    with pytest.raises(SystemExit) as stop:
        main(["train", *QUICK, "gamma:0.9", "--resume", "kept"])
    assert "kept/checkpoint.zip" in stop.value.code and "gamma" in stop.value.code
