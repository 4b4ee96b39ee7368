"""Policies in safetensors and JSON: the same policy comes back, and nothing in the files can run code."""

import json
import os
import pickle
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import stable_baselines3
import torch
import yaml
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN

import sb3_flowsac
from sb3_flowsac import CnnPolicy, FlowPolicy, MultiInputPolicy, load_policy, save_policy
from sb3_flowsac.files.spaces import space_from_json, space_to_json

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
VECTOR = spaces.Box(-np.inf, np.array([1.0, np.inf, 0.1], np.float32))
ACTION = spaces.Box(np.array([-2.0, 0.1], np.float32), np.array([1.0, 0.7], np.float32))
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
MIXED = spaces.Dict(
    [
        ("vector", VECTOR),
        ("number", spaces.Discrete(4)),
        ("numbers", spaces.MultiDiscrete([2, 3])),
        ("bits", spaces.MultiBinary(3)),
    ]
)
POLICIES = {
    "default": (FlowPolicy, VECTOR, {}),
    "every argument": (
        FlowPolicy,
        VECTOR,
        {
            "net_arch": {"pi": [8], "qf": [8, 4]},
            "activation_fn": torch.nn.Tanh,
            "squash_output": False,
            "base": "standard",
            "field": "mlp",
            "ode_steps": 2,
            "ode_solver": "heun",
            "density": "trace",
            "optimizer_class": torch.optim.AdamW,
            "optimizer_kwargs": {"betas": (0.9, 0.99)},
            "n_critics": 1,
            "n_action_candidates": 5,
            "n_acting_candidates": 3,
        },
    ),
    "quadratic": (
        FlowPolicy,
        VECTOR,
        {"critic": "quadratic", "log_std_init": -1.4, "share_features_extractor": True},
    ),
    "images": (CnnPolicy, IMAGE, {"features_extractor_kwargs": {"features_dim": 8}, "share_features_extractor": True}),
    "dictionaries": (MultiInputPolicy, MIXED, {}),
}


class Doubled(FlattenExtractor):
    """A features extractor of the user's own."""

    def __init__(self, observation_space, factor=2.0):
        super().__init__(observation_space)
        self.factor = factor

    def forward(self, observations):
        return self.factor * super().forward(observations)


def new(policy_class=FlowPolicy, space=VECTOR, seed=1, **kwargs):
    """A policy whose weights are all different from those that a new one gets."""
    torch.manual_seed(seed)
    policy = policy_class(space, ACTION, lambda _: 1e-3, **{"net_arch": [8], **kwargs})
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return policy


def observations(space, n=5):
    space.seed(0)
    drawn = [space.sample() for _ in range(n)]
    return (
        {key: np.stack([d[key] for d in drawn]) for key in drawn[0]}
        if isinstance(space, spaces.Dict)
        else np.stack(drawn)
    )


def assert_same(policy, other):
    ours, theirs = policy.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    obs = observations(policy.observation_space)
    for deterministic in (True, False):
        predictions = []
        for each in (policy, other):
            torch.manual_seed(2)
            predictions.append(each.predict(obs, deterministic=deterministic)[0])
        np.testing.assert_array_equal(*predictions, strict=True)
    drawn = [each.sample(obs, 3, torch.Generator().manual_seed(0)) for each in (policy, other)]
    assert torch.equal(drawn[0][0], drawn[1][0]) and torch.equal(drawn[0][1], drawn[1][1])
    assert torch.equal(policy.log_prob(obs, drawn[0][0]), other.log_prob(obs, drawn[0][0]))


@pytest.fixture
def saved(tmp_path):
    save_policy(new(), tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_policy_comes_back(name, tmp_path):
    policy_class, space, kwargs = POLICIES[name]
    policy = new(policy_class, space, **kwargs)
    save_policy(policy, tmp_path / "a" / "b")
    before = torch.get_rng_state()
    loaded = load_policy(tmp_path / "a" / "b", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    assert type(loaded) is policy_class and not loaded.training
    ours, theirs = policy._get_constructor_parameters(), loaded._get_constructor_parameters()
    for parameters in (ours, theirs):
        del parameters["lr_schedule"]
        parameters["optimizer_kwargs"] = {k: list(v) for k, v in parameters["optimizer_kwargs"].items() if k == "betas"}
    assert ours == theirs
    assert_same(policy, loaded)
    assert type(load_policy(tmp_path / "a" / "b")) is policy_class
    assert sorted(os.listdir(tmp_path / "a" / "b")) == [CARD, CONFIG, WEIGHTS]


def test_a_trained_model_s_policy_in_double_precision_and_overwriting(make_model, tmp_path):
    model = make_model("Pendulum-v1", learning_starts=5).learn(10)
    save_policy(model.policy, tmp_path)
    assert_same(model.policy, load_policy(tmp_path, "cpu"))
    double = new().double()
    save_policy(double, tmp_path)
    loaded = load_policy(tmp_path, "cpu")
    assert next(loaded.parameters()).dtype == torch.float64 and loaded.action_scale.dtype == torch.float64
    assert all(torch.equal(*pair) for pair in zip(double.parameters(), loaded.parameters(), strict=True))


def test_arguments_without_weights_may_be_replaced(saved):
    assert load_policy(saved, ode_steps=9).flow_kwargs["ode_steps"] == 9
    with pytest.raises(ValueError, match=r"config.json describes no valid FlowPolicy: .*ode_stepz"):
        load_policy(saved, ode_stepz=9)


def test_custom_classes_are_handed_over(tmp_path):
    policy = new(features_extractor_class=Doubled, features_extractor_kwargs={"factor": 3.0})
    save_policy(policy, tmp_path)
    with pytest.raises(
        ValueError,
        match=r"Doubled.*load_policy\(folder, features_extractor_class=\.\.\.\)",
    ):
        load_policy(tmp_path)
    assert_same(policy, load_policy(tmp_path, features_extractor_class=Doubled))


def test_a_policy_class_of_one_s_own(tmp_path):
    class Own(FlowPolicy):
        pass

    save_policy(new(Own), tmp_path)
    assert type(load_policy(tmp_path, policy_class=Own)) is Own
    with pytest.raises(ValueError, match=r"config\.json: policy is Own; policy_class .*FlowPolicy.*CnnPolicy"):
        load_policy(tmp_path)
    save_policy(new(), tmp_path)
    with pytest.raises(ValueError, match=r"policy is FlowPolicy; policy_class is Own"):
        load_policy(tmp_path, policy_class=Own)


def test_what_json_cannot_hold_is_refused_on_saving(tmp_path):
    with pytest.raises(ValueError, match=r"activation_fn=.* cannot be written as JSON"):
        save_policy(new(activation_fn=lambda: torch.nn.ReLU()), tmp_path)
    policy = new(FlowPolicy, VECTOR)
    policy.observation_space = spaces.Text(3)
    with pytest.raises(ValueError, match="is a Text; those that can be written are Box, Discrete"):
        save_policy(policy, tmp_path)
    assert not list(tmp_path.iterdir())


# The model card


def card_of(folder):
    """The front matter and the text of a model card."""
    _, front, text = (folder / CARD).read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_model_card_says_what_the_policy_is(tmp_path):
    save_policy(new(MultiInputPolicy, MIXED, squash_output=False), tmp_path)
    front, text = card_of(tmp_path)
    assert front["library_name"] == "stable-baselines3"
    assert {"stable-baselines3", "reinforcement-learning", "sb3-flowsac"} <= set(front["tags"])
    for space in (MIXED, ACTION):
        assert " ".join(str(space).split()) in text
    assert "MultiInputPolicy of FlowSAC" in text and "clipped to the Box" in text and "Results" not in text
    for version in (sb3_flowsac.__version__, stable_baselines3.__version__, torch.__version__):
        assert f"| {version} |" in text


def test_the_code_of_the_model_card_runs(tmp_path, monkeypatch):
    policy = new()
    save_policy(policy, tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", card_of(tmp_path / "folder")[1], flags=re.DOTALL)
    found = {"observation": observations(VECTOR)}
    exec(code, found)
    np.testing.assert_array_equal(found["action"], policy.predict(found["observation"], deterministic=True)[0])


def test_results_are_a_table_of_the_model_card(saved):
    save_policy(new(), saved, {"mean | return": -150.5, "seeds": "3\nruns"})
    assert "| mean \\| return | -150.5 |\n| seeds | 3 runs |\n" in card_of(saved)[1].split("## Results")[1]
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    for wrong in ({"returns": [1.0]}, {1: 2.0}, "good"):
        with pytest.raises(ValueError, match="results must be a dictionary of texts or numbers by name, got"):
            save_policy(new(seed=7), saved, wrong)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


# Spaces


@pytest.mark.parametrize(
    "space",
    [
        VECTOR,
        ACTION,
        IMAGE,
        spaces.Box(-1, 1, (2, 3), np.float64),
        spaces.Box(np.array([[-5, 2**40]]), np.array([[7, 2**41]]), dtype=np.int64),
        spaces.Box(-np.inf, np.inf, ()),
        spaces.Discrete(5, start=-2),
        spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]]),
        spaces.MultiBinary(4),
        spaces.MultiBinary([2, 3]),
        spaces.Dict([("z", ACTION), ("a", spaces.Dict(inner=IMAGE))]),
    ],
    ids=str,
)
def test_spaces_come_back_equal(space):
    text = json.dumps(space_to_json(space), allow_nan=False)
    restored = space_from_json(json.loads(text))
    assert restored == space and type(restored) is type(space) and restored.dtype == space.dtype
    if isinstance(space, spaces.Dict):
        assert list(restored.spaces) == list(space.spaces)
    assert len(json.dumps(space_to_json(IMAGE))) < 100


# Files that are not what they should be


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "config.json: version must be 1, got 2"),
        ({"format": "other"}, "config.json: format must be .*, got 'other'"),
        ({"policy": "Evil"}, "config.json: policy is Evil; .*FlowPolicy.*CnnPolicy"),
        ({"policy": None}, "config.json: policy must be a str, got None"),
        ({"observation_space": {"type": "Sphere"}}, "config.json: observation_space: a description needs a type among"),
        ({"action_space": {"type": "Box", "shape": [2]}}, "action_space: Box is described wrongly: KeyError: 'dtype'"),
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


def test_an_interrupted_save_keeps_the_earlier_files(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match=rf"cannot write: No space left on device: .*{WEIGHTS}"):
        save_policy(new(seed=5), saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_extractors_of_sb3_are_named_and_no_code(saved):
    save_policy(new(CnnPolicy, IMAGE, features_extractor_kwargs={"features_dim": 4}), saved)
    kwargs = json.loads((saved / CONFIG).read_text())["policy_kwargs"]
    assert kwargs["features_extractor_class"] == {"class": "stable_baselines3.common.torch_layers.NatureCNN"}
    assert kwargs["activation_fn"] == {"class": "sb3_flowsac.algorithm.activations.Swish2"}
    assert kwargs["optimizer_class"] == {"class": "torch.optim.Adam"}
    assert load_policy(saved).features_extractor_class is NatureCNN
