"""Files of checkpoints: written whole or not at all, also by processes that are killed; damage is noticed."""

import errno
import multiprocessing
import os
import pickle
import signal
import time
import warnings

import numpy as np
import pytest
import torch
from interrupted import TOTAL, Stopped, resume, small, stop_at

from sb3_flowsac.callbacks import ResumableCheckpoint
from sb3_flowsac.files.checkpoints import read_checkpoint, write_checkpoint
from sb3_flowsac.files.writing import replacing


@pytest.fixture(scope="module")
def rewards():
    """Rewards in the buffer of the uninterrupted run: they depend on all actions, and so on all that is learnt."""
    return small().learn(TOTAL).replay_buffer.rewards


def test_one_checkpoint_is_kept_the_latest(tmp_path):
    (tmp_path / "checkpoint.zip.tmp").write_bytes(b"of a killed process")
    small().learn(40, callback=ResumableCheckpoint(tmp_path, 10, verbose=0))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.zip"]
    assert read_checkpoint(tmp_path / "checkpoint.zip")["attributes"]["num_timesteps"] == 40


def test_only_filled_rows_are_written(tmp_path):
    small(buffer_size=1_000_000).learn(30, callback=ResumableCheckpoint(tmp_path, 10, verbose=0))
    assert all(path.stat().st_size < 2_000_000 for path in tmp_path.iterdir())


# Damage


def flipped(content, position, bits):
    return content[:position] + bytes([content[position] ^ bits]) + content[position + 1 :]


class Bomb:
    """Unpickled, it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "text": lambda content: b"not a checkpoint",
    "pickle": lambda content: pickle.dumps(Bomb()),
    "one bit": lambda content: flipped(content, len(content) // 2, 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_runs_no_code(damage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint.zip"
    write_checkpoint(path, {"step": 20, "numbers": np.arange(1000.0)})
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=r"checkpoint\.zip is damaged"):
        resume(small(), tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_every_flipped_byte_of_a_file_is_noticed(tmp_path):
    path = tmp_path / "checkpoint.zip"
    write_checkpoint(path, {"numbers": np.arange(3), "nested": [{"x": (1, float("inf"), None)}]})
    content = path.read_bytes()
    assert read_checkpoint(path)["nested"] == [{"x": (1, float("inf"), None)}]
    for position in range(0, len(content), 7):
        path.write_bytes(flipped(content, position, 0xFF))
        try:
            found = read_checkpoint(path)
        except ValueError as error:
            assert path.name in str(error)
        else:  # a byte that says nothing, such as a time stamp
            np.testing.assert_array_equal(found["numbers"], np.arange(3))


# Full disks


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path, monkeypatch, rewards):
    stop_at(32, small(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"checkpoint\.zip") as error:
        resume(small(), tmp_path)
    assert error.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    np.testing.assert_array_equal(resume(small(), tmp_path).replay_buffer.rewards, rewards)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "file"
    with replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    with pytest.raises(Stopped), replacing(path) as file:
        file.write(b"newer")
        raise Stopped
    assert path.read_bytes() == b"new" and list(path.parent.iterdir()) == [path]
    with pytest.raises(OSError, match=r"file.below") as error, replacing(path / "below") as file:
        pass
    assert error.value.filename == str(path / "below")


# Killed processes


def run(folder, total):
    torch.set_num_threads(1)
    return resume(small(), folder, total)


def written(path):
    return path.stat().st_mtime_ns if path.exists() else None


def test_killed_runs_end_as_uninterrupted_ones(tmp_path):
    """SIGKILL at random moments, some while a checkpoint is written: none is ever damaged, and nothing is lost."""
    path = tmp_path / "checkpoint.zip"
    context = multiprocessing.get_context("forkserver")  # imports once, not for each process
    context.set_forkserver_preload(["sb3_flowsac.callbacks", "torch._dynamo"])
    for delay in np.random.default_rng(0).uniform(0.0, 0.1, 3):
        before = written(path)
        process = context.Process(target=run, args=(tmp_path, 120))
        process.start()
        while written(path) == before and process.is_alive():
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        read_checkpoint(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed = run(tmp_path, 120)
    for ours, theirs in zip(resumed.policy.parameters(), small().learn(120).policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)
