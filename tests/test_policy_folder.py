"""A policy as a folder of safetensors and JSON: the same policy comes back."""

import json
import os

import numpy as np
import pytest
import torch
from gymnasium import spaces
from small_policies import CARD, CONFIG, IMAGE, MIXED, VECTOR, WEIGHTS, new, observations
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN

from sb3_flowsac import CnnPolicy, FlowPolicy, MultiInputPolicy, load_policy, save_policy
from sb3_flowsac.flow import Solver

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
    assert next(loaded.parameters()).dtype == torch.float64 and loaded.box.scale.dtype == torch.float64
    assert all(torch.equal(*pair) for pair in zip(double.parameters(), loaded.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["Adafactor", "Adagrad", "Adamax", "ASGD", "NAdam", "RAdam"])
def test_optimizers_whose_steps_read_a_number(optimizer, tmp_path):
    policy = new(optimizer_class=getattr(torch.optim, optimizer))
    save_policy(policy, tmp_path)
    assert_same(policy, load_policy(tmp_path, "cpu"))


def test_arguments_without_weights_may_be_replaced(saved):
    obs = observations(VECTOR)
    ours, theirs = (
        load_policy(saved, **kwargs).predict(obs, deterministic=True)[0] for kwargs in ({}, {"ode_steps": 4})
    )
    assert not np.array_equal(ours, theirs)
    np.testing.assert_allclose(ours, theirs, atol=0.5)
    with pytest.raises(ValueError, match=r"config.json.*ode_stepz"):
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


def test_a_solver_of_one_s_own(tmp_path):
    """It is numbers alone, so nothing has to be handed over."""
    policy = new(ode_solver=Solver(nodes=(0.0, 2 / 3), stages=((), (2 / 3,)), weights=(1 / 4, 3 / 4)))
    save_policy(policy, tmp_path)
    assert_same(policy, load_policy(tmp_path))
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace("0.25", "0.5"))
    with pytest.raises(ValueError, match=r"config\.json.*ode_solver.*weights must sum to 1"):
        load_policy(tmp_path)


def test_a_model_in_place_of_its_policy_is_named(make_model, tmp_path):
    with pytest.raises(TypeError, match=r"model\.policy"):
        save_policy(make_model("Pendulum-v1"), tmp_path)


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
    with pytest.raises(ValueError, match="activation_fn"):
        save_policy(new(activation_fn=lambda: torch.nn.ReLU()), tmp_path)
    policy = new(FlowPolicy, VECTOR)
    policy.observation_space = spaces.Text(3)
    with pytest.raises(ValueError, match=r"Box, Discrete.*Text"):
        save_policy(policy, tmp_path)
    assert not list(tmp_path.iterdir())


def test_extractors_of_sb3_are_named_and_no_code(saved):
    save_policy(new(CnnPolicy, IMAGE, features_extractor_kwargs={"features_dim": 4}), saved)
    kwargs = json.loads((saved / CONFIG).read_text())["policy_kwargs"]
    assert kwargs["features_extractor_class"] == {"class": "stable_baselines3.common.torch_layers.NatureCNN"}
    assert kwargs["activation_fn"] == {"class": "torch.nn.ReLU"}
    assert kwargs["optimizer_class"] == {"class": "torch.optim.Adam"}
    assert load_policy(saved).features_extractor_class is NatureCNN


def test_an_interrupted_save_keeps_the_earlier_files(saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match=rf"cannot write: No space left on device: .*{WEIGHTS}"):
        save_policy(new(seed=5), saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
