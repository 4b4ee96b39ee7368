"""Policies as ONNX files and exported programs: the same actions as ``predict``, for batches of any size."""

import importlib.util
import logging

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sb3_flowsac import CnnPolicy, FlowPolicy, MultiInputPolicy, export_onnx, export_program

onnxruntime = pytest.importorskip("onnxruntime")

VECTOR = spaces.Box(-np.inf, np.inf, (3,))
MIXED = spaces.Dict(
    [
        ("vector", VECTOR),
        ("number", spaces.Discrete(4)),
        ("numbers", spaces.MultiDiscrete([2, 3])),
        ("bits", spaces.MultiBinary(3)),
    ]
)
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
SIX = spaces.Box(-np.arange(1, 7, dtype=np.float32), np.full(6, 0.5, np.float32))
BEST = {"n_action_candidates": 5, "n_acting_candidates": 3}
POLICIES = {
    "one action": (FlowPolicy, VECTOR, spaces.Box(-2.0, 3.0, (1,)), {}),
    "six, unsquashed, standard, mlp": (
        FlowPolicy,
        VECTOR,
        SIX,
        {"squash_output": False, "base": "standard", "field": "mlp", "ode_solver": "heun"},
    ),
    "six, squashed, best of several": (
        FlowPolicy,
        spaces.Discrete(4),
        SIX,
        BEST,
    ),
    "dictionaries, matrix of actions": (
        MultiInputPolicy,
        MIXED,
        spaces.Box(-1.0, 3.0, (2, 2)),
        {"squash_output": False},
    ),
    "images": (CnnPolicy, IMAGE, SIX, {"features_extractor_kwargs": {"features_dim": 8}}),
}
# An ONNX file takes seconds to write and holds an exported program: each policy in ONNX once, and the rest as programs
ONNX_CASES = [(name, number % 2 == 1) for number, name in enumerate(POLICIES)]
PROGRAM_CASES = [("six, squashed, best of several", True), ("dictionaries, matrix of actions", False)]


def new(name):
    policy_class, space, actions, kwargs = POLICIES[name]
    torch.manual_seed(1)
    policy = policy_class(space, actions, lambda _: 1e-3, **{"net_arch": [8], "ode_steps": 1, **kwargs})
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return policy


def observations(space, n):
    drawn = [space.sample() for _ in range(n)]
    return (
        {key: np.stack([d[key] for d in drawn]) for key in drawn[0]}
        if isinstance(space, spaces.Dict)
        else np.stack(drawn)
    )


def check_predicts(policy, deterministic, run):
    """``run(observation, noise)`` gives what ``predict`` gives, whatever the size of the batch."""
    space, box = policy.observation_space, policy.action_space
    space.seed(0)
    for batch in (1, 2, 7, 100):
        obs = observations(space, batch)
        torch.manual_seed(batch)
        noise = None if deterministic else torch.randn(batch, policy.n_acting_candidates, int(np.prod(box.shape)))
        torch.manual_seed(batch)
        expected, _ = policy.predict(obs, deterministic=deterministic)
        action = run(obs, noise)
        assert action.dtype == expected.dtype and action.shape == (batch, *box.shape)
        np.testing.assert_allclose(action, expected, rtol=0.0, atol=1e-5)
        assert (box.low <= action).all() and (action <= box.high).all()
    assert len(np.unique(action.round(3), axis=0)) > 3  # other actions in other states
    assert ((box.low < action) & (action < box.high)).mean() > 0.5


@pytest.mark.parametrize(("name", "deterministic"), PROGRAM_CASES)
def test_an_exported_program_predicts(name, deterministic, tmp_path):
    policy = new(name)
    torch.export.save(export_program(policy, deterministic), tmp_path / "policy.pt2")
    module = torch.export.load(tmp_path / "policy.pt2").module()

    def run(obs, noise):
        inputs = policy.obs_to_tensor(obs)[0]
        return (module(inputs) if noise is None else module(inputs, noise)).detach().numpy()

    check_predicts(policy, deterministic, run)


@pytest.mark.parametrize(("name", "deterministic"), ONNX_CASES)
def test_onnx_predicts(name, deterministic, tmp_path):
    policy = new(name)
    path = tmp_path / "new" / "policy.onnx"
    export_onnx(policy, path, deterministic)
    session = onnxruntime.InferenceSession(path)
    keys = policy.observation_space.keys() if isinstance(policy.observation_space, spaces.Dict) else ()
    inputs = [f"observation.{key}" for key in keys] or ["observation"]
    assert [each.name for each in session.get_inputs()] == (inputs if deterministic else [*inputs, "noise"])
    assert [each.name for each in session.get_outputs()] == ["action"]
    assert [each.name for each in path.parent.iterdir()] == ["policy.onnx"]  # all in one file

    def run(obs, noise):
        given = {f"observation.{key}": obs[key] for key in keys} if keys else {"observation": obs}
        return session.run(None, given if noise is None else {**given, "noise": noise.numpy()})[0]

    check_predicts(policy, deterministic, run)


def test_export_leaves_policy_generators_and_loggers_alone(tmp_path):
    policy = new("one action")
    policy.set_training_mode(True)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    generator, level = torch.get_rng_state(), logging.getLogger("torch.onnx").level
    policy.observation_space.seed(3)
    first = policy.observation_space.sample()
    policy.observation_space.seed(3)
    export_program(policy)
    assert policy.training and torch.equal(torch.get_rng_state(), generator)
    assert np.array_equal(policy.observation_space.sample(), first)
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert all(value.requires_grad for value in policy.actor.parameters())
    assert logging.getLogger("torch.onnx").level == level


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    with pytest.raises(ImportError, match=r'needs onnxscript, .*pip install "sb3-flowsac\[export\]"'):
        export_onnx(new("one action"), tmp_path / "policy.onnx")
    assert not list(tmp_path.iterdir())
