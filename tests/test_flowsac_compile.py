"""The compiled Bellman error: what is learnt is the same, and a failure is no more than a warning."""

import pickle
import shutil
import warnings

import cloudpickle
import pytest
import torch
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm import bellman
from sb3_flowsac.algorithm.bellman import CompiledBellmanError

SMALL = {"net_arch": [8], "ode_steps": 1}
TQC = {"n_quantiles": 7, "top_quantiles_to_drop_per_net": 2}


def learn(make_model, policy="FlowPolicy", policy_kwargs=SMALL, **kwargs):
    env = BitFlippingEnv(n_bits=2, continuous=True) if policy == "MultiInputPolicy" else "Pendulum-v1"
    return make_model(env, policy, learning_starts=10, policy_kwargs=policy_kwargs, **kwargs).learn(20)


def transitions(obs_dim):
    obs, column = torch.zeros(4, obs_dim), torch.zeros(4, 1)
    return ReplayBufferSamples(obs, column, obs, column, column)


def assert_same(model, other, **tolerances):
    for ours, theirs in zip(model.policy.state_dict().values(), other.policy.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, **tolerances)


def critics(kind):
    return SMALL if kind is None else {**SMALL, "critic": kind, "critic_kwargs": TQC}


@pytest.mark.parametrize(
    ("policy", "critic"),
    [("FlowPolicy", None), ("MultiInputPolicy", None), ("FlowPolicy", "layer_norm"), ("FlowPolicy", "network")],
)
def test_what_is_traced_in_one_graph_learns_bit_for_bit_the_same(make_model, monkeypatch, policy, critic):
    monkeypatch.setattr(
        bellman.torch, "compile", lambda f, options, c=torch.compile: c(f, backend="eager", fullgraph=True)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "torch_compile")
        model = learn(make_model, policy, critics(critic), torch_compile=True)
    assert_same(model, learn(make_model, policy, critics(critic)), rtol=0, atol=0)


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile wants a C++ compiler")
@pytest.mark.parametrize("critic", [None, pytest.param("layer_norm", marks=pytest.mark.study)])
def test_compiled_code_learns_the_same_up_to_rounding(make_model, tmp_path, critic):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "torch_compile")
        model = learn(make_model, policy_kwargs=critics(critic), torch_compile=True)
    assert_same(model, learn(make_model, policy_kwargs=critics(critic)), rtol=1e-3, atol=1e-5)

    model.save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", env=model.env, device="cpu")
    assert loaded.torch_compile is True and isinstance(loaded._bellman_error, CompiledBellmanError)


def test_a_failure_is_a_warning(make_model, monkeypatch):
    def fail(*_):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(bellman.torch, "compile", lambda f, options: fail)
    with pytest.warns(UserWarning, match="^torch_compile=True: .*goes on without it: no compiler") as caught:
        model = learn(make_model, torch_compile=True)
    assert sum("torch_compile" in str(warning.message) for warning in caught) == 1  # not at each step
    assert_same(model, learn(make_model), rtol=0, atol=0)


def error(model, obs_dim):
    networks = model.actor, model.critic, model.critic_target
    return model._bellman_error(*networks, transitions(obs_dim), model.gamma, 1, torch.ones(()))


def test_a_model_that_compiles_can_be_pickled(make_model, monkeypatch):
    monkeypatch.setattr(bellman.torch, "compile", lambda f, options, c=torch.compile: c(f, backend="eager"))
    model = learn(make_model, torch_compile=True)
    again = pickle.loads(cloudpickle.dumps(model))
    assert isinstance(again._bellman_error, CompiledBellmanError)
    assert_same(again, model, rtol=0, atol=0)
    assert again.learn(20)._n_updates == 20


def test_an_error_of_its_own_is_no_failure_to_compile(make_model, monkeypatch):
    monkeypatch.setattr(bellman.torch, "compile", lambda f, options: f)
    model = make_model("Pendulum-v1", torch_compile=True, policy_kwargs=SMALL)
    with pytest.raises(RuntimeError, match=r"shapes|size"), warnings.catch_warnings():
        warnings.simplefilter("error")
        error(model, obs_dim=2)
    assert error(model, obs_dim=3).critic_loss.isfinite()


@pytest.mark.parametrize("value", [1, "reduce-overhead", None])
def test_other_values_are_refused(make_model, value):
    with pytest.raises((TypeError, ValueError), match=r"^torch_compile"):
        make_model("Pendulum-v1", torch_compile=value)
