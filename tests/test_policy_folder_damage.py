"""Policy files that are not what they should be: named, refused before they take memory, and never run."""

import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_policies import CONFIG, WEIGHTS, new

from sb3_flowsac import load_policy, save_policy


@pytest.fixture
def saved(tmp_path):
    save_policy(new(), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "config.json: version must be 1, got 2"),
        ({"format": "other"}, "config.json: format must be .*, got 'other'"),
        ({"policy": "Evil"}, "config.json: policy is Evil; .*FlowPolicy.*CnnPolicy"),
        ({"policy": None}, "config.json: policy must be a str, got None"),
        ({"observation_space": {"type": "Sphere"}}, "config.json: observation_space: type .*Box.*Sphere"),
        ({"action_space": {"type": "Box", "shape": [2]}}, "action_space: Box"),
        ({"observation_space": {"type": "Discrete", "n": -1, "start": 0, "dtype": "int64"}}, "observation_space"),
        ({"policy_kwargs": []}, r"config.json: policy_kwargs must be a dict, got \[\]"),
        ({"policy_kwargs": {"net_arch": "wide"}}, "config.json describes no valid FlowPolicy"),
        ({"policy_kwargs": {"activation_fn": {"class": "os.system"}}}, "activation_fn: .*'os.system'"),
        ({"policy_kwargs": {"activation_fn": {"class": "torch.nn.modules"}}}, "activation_fn: .*'torch.nn.modules'"),
        ({"policy_kwargs": {"activation_fn": {"class": "torch.nn.init.torch.os.system"}}}, "activation_fn"),
        ({"policy_kwargs": {"activation_fn": {"class": "x.__class__"}}}, "activation_fn: .*'x.__class__'"),
        ({"policy_kwargs": {"net_arch": [16]}}, r"model.safetensors: actor.*float32 of shape"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_named(saved, change, message):
    config = json.loads((saved / CONFIG).read_text())
    (saved / CONFIG).write_text(json.dumps({**config, **change}))
    with pytest.raises(ValueError, match=message):
        load_policy(saved)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux does")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net_arch": [65536] * 4}, "safetensors: actor"),
        ({"net_arch": {"pi": [8], "qf": [65536] * 3}}, "model.safetensors: critic"),
        ({"n_critics": 65536, "net_arch": [65536, 65536]}, "safetensors: actor"),
        ({"features_extractor_class": {"class": "stable_baselines3.common.torch_layers.NatureCNN"}}, "config.json"),
        ({"observation_space": {"type": "Box", "shape": [2**20] * 2, "dtype": "float64", "low": 0, "high": 1}}, "Box"),
        ({"observation_space": {"type": "Discrete", "n": 2**40, "start": 0, "dtype": "int64"}}, "safetensors: actor"),
        ({"observation_space": {"type": "Discrete", "n": 2**62, "start": 0, "dtype": "int64"}}, "describes no valid"),
    ],
)  # fmt: skip
def test_networks_that_fill_the_memory_are_refused_before_they_are_made(saved, change, message, monkeypatch):
    config = json.loads((saved / CONFIG).read_text())
    spaces_changed = {key: change.pop(key) for key in list(change) if key.endswith("space")}
    policy_kwargs = {**config["policy_kwargs"], **change}
    (saved / CONFIG).write_text(json.dumps({**config, **spaces_changed, "policy_kwargs": policy_kwargs}))
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, hard))  # a gigabyte more
    try:
        with pytest.raises(ValueError, match=message):
            load_policy(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_wrong_weights_are_named(saved):
    weights = load_file(saved / WEIGHTS)
    key = "actor.flow.base.head.weight" if "actor.flow.base.head.weight" in weights else min(weights)
    changes = {
        f"{key} is None": {name: value for name, value in weights.items() if name != key},
        "extra .*needs None": {**weights, "extra": torch.zeros(1)},
        f"{key} is torch.float32 of shape .1,., config.json needs torch.float32 of shape": {
            **weights,
            key: torch.zeros(1),
        },
        f"{key} is torch.int64 of shape": {**weights, key: weights[key].long()},
    }
    for message, changed in changes.items():
        save_file(changed, saved / WEIGHTS)
        with pytest.raises(ValueError, match=f"{WEIGHTS}: {message}"):
            load_policy(saved)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_truncated_and_missing_files_are_named(saved, name):
    content = (saved / name).read_bytes()
    for length in (0, 1, 7, 9, len(content) // 2, len(content) - 3):
        (saved / name).write_bytes(content[:length])
        with pytest.raises(ValueError, match=name):
            load_policy(saved)
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_policy(saved)


class Bomb:
    """Unpickled, it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_pickle_is_never_run(saved, tmp_path_factory, monkeypatch):
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    as_torch = here / "bomb.pt"
    torch.save(Bomb(), as_torch)
    bombs = {"pickle": pickle.dumps(Bomb()), "torch": as_torch.read_bytes(), "text": pickle.dumps(Bomb(), protocol=0)}
    for bomb in bombs.values():
        for name in (CONFIG, WEIGHTS):
            folder = here / "folder"
            shutil.copytree(saved, folder)
            for other in ("policy.pkl", "model.pt", "model.zip", "model.bin", "pytorch_model.bin", "data.pkl"):
                (folder / other).write_bytes(bomb)
            load_policy(folder)  # files of other names are not looked at
            (folder / name).write_bytes(bomb)
            with pytest.raises(ValueError, match=name):
                load_policy(folder)
            shutil.rmtree(folder)
    assert not (here / "exploded").exists()
    with pytest.raises(FileExistsError):  # the bomb is live
        for _ in range(2):
            pickle.loads(bombs["pickle"])


def test_no_unpickler_is_called(saved, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a pickle is read")

    for target in (
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "torch.load",
        "cloudpickle.load",
        "cloudpickle.loads",
    ):
        monkeypatch.setattr(target, refuse)
    load_policy(saved)
