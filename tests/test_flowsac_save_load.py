"""Saving and loading: the same predictions, the same continuation, the parts that a user picks."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from sb3_flowsac import FlowSAC

OBS = np.array([[0.6, 0.8, 0.3], [-1.0, 0.0, -2.0]], np.float32)
VARIANTS = {
    "default": {},
    "unsquashed": {"policy_kwargs": {"squash_output": False}, "ent_coef": 0.2, "sampling_distribution": "policy"},
    "paper": {
        "policy_kwargs": {"base": "standard", "field": "mlp", "density": "trace", "ode_steps": 2},
        "ent_coef": "auto_0.1",
        "actor_loss": "isfm",
    },
    "defensive": {"n_proposals": 32, "sampling_distribution": "defensive"},
    "networks": {"policy_kwargs": {"critic": "network"}},
    "quadratic": {
        "policy_kwargs": {"critic": "quadratic", "n_critics": 1},
        "n_next_actions": 2,
        "policy_delay": 1,
    },
}


def everything(model):
    """All tensors that training changes."""
    tensors = {**model.policy.state_dict(), "alpha": model.entropy_coefficient()}
    for name in ("actor", "critic"):
        state = getattr(model, name).optimizer.state_dict()["state"]
        tensors |= {f"{name}.{i}.{key}": value for i, entry in state.items() for key, value in entry.items()}
    if model.entropy_coefficient.optimizer is not None:
        state = model.entropy_coefficient.optimizer.state_dict()["state"][0]
        tensors |= {f"alpha.{key}": value for key, value in state.items()}
    return tensors


def assert_equal(model, other):
    ours, theirs = everything(model), everything(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("variant", VARIANTS)
def test_predictions_and_parameters_are_equal(make_model, variant, tmp_path):
    model = make_model("Pendulum-v1", **VARIANTS[variant]).learn(50)
    model.save(tmp_path / "model.zip")
    loaded = FlowSAC.load(tmp_path / "model.zip")
    assert_equal(model, loaded)
    for deterministic in (True, False):
        predictions = []
        for m in (model, loaded):
            torch.manual_seed(1)
            predictions.append(m.predict(OBS, deterministic=deterministic)[0])
        np.testing.assert_array_equal(*predictions)
    sampled = [m.policy.sample(OBS, 5, torch.Generator().manual_seed(0)) for m in (model, loaded)]
    assert torch.equal(sampled[0][0], sampled[1][0]) and torch.equal(sampled[0][1], sampled[1][1])
    for name in (
        "gamma",
        "n_proposals",
        "n_next_actions",
        "actor_batch_size",
        "policy_delay",
        "isfm_interval",
        "min_effective_proposals",
        "actor_loss",
        "target_entropy",
        "num_timesteps",
    ):
        assert getattr(loaded, name) == getattr(model, name)
    assert type(loaded.sampling_distribution) is type(model.sampling_distribution)
    assert loaded._n_updates == model._n_updates


@pytest.mark.parametrize("variant", VARIANTS)
def test_learning_continues_as_if_never_saved(make_model, variant, tmp_path):
    """Gradient steps on the same replay buffer under the same seed give the same parameters to the last bit."""
    model = make_model("Pendulum-v1", learning_rate=1e-3, **VARIANTS[variant]).learn(50)
    model.save(tmp_path / "model.zip")
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    loaded = FlowSAC.load(tmp_path / "model.zip", env=gym.make("Pendulum-v1"))
    loaded.load_replay_buffer(tmp_path / "buffer.pkl")
    loaded.set_logger(model.logger)
    for m in (model, loaded):
        torch.manual_seed(3)
        np.random.seed(3)
        m.train(5, 16)
    assert_equal(model, loaded)


def test_a_loaded_model_learns_in_a_new_environment(make_model, tmp_path):
    make_model("Pendulum-v1").learn(40).save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", env=make_vec_env("Pendulum-v1", n_envs=2))
    loaded.learn(60, reset_num_timesteps=False)
    assert loaded.num_timesteps == 100 and loaded._n_updates > 20
    fresh = make_model("Pendulum-v1")
    fresh.set_env(gym.make("Pendulum-v1"))
    assert fresh.learn(30).num_timesteps == 30


def test_a_different_environment_is_refused(make_model, tmp_path):
    make_model("Pendulum-v1").save(tmp_path / "model")
    with pytest.raises(ValueError, match="spaces do not match"):
        FlowSAC.load(tmp_path / "model", env=gym.make("MountainCarContinuous-v0"))


def test_set_and_get_parameters(make_model):
    model, other = make_model("Pendulum-v1", policy_delay=4).learn(40), make_model("Pendulum-v1", seed=1)
    parameters = model.get_parameters()
    assert set(parameters) == {
        "policy",
        "actor.optimizer",
        "critic.optimizer",
        "ent_coef_optimizer",
    }
    assert not np.allclose(model.predict(OBS, deterministic=True)[0], other.predict(OBS, deterministic=True)[0])
    other.set_parameters(parameters)
    np.testing.assert_array_equal(model.predict(OBS, deterministic=True)[0], other.predict(OBS, deterministic=True)[0])
    with pytest.raises(ValueError, match=r"actor\.optimizer"):
        other.set_parameters({"policy": parameters["policy"]}, exact_match=True)


def test_exclude_and_include_and_custom_objects(make_model, tmp_path):
    model = make_model("Pendulum-v1", tau=0.1)
    model.save(tmp_path / "small", exclude=["tau"])
    assert FlowSAC.load(tmp_path / "small").tau == 0.005  # the default
    model.save(tmp_path / "all", include=["replay_buffer"])
    assert (
        FlowSAC.load(tmp_path / "all").replay_buffer.buffer_size == 1000 and FlowSAC.load(tmp_path / "all").tau == 0.1
    )
    loaded = FlowSAC.load(tmp_path / "all", custom_objects={"learning_rate": 0.5, "lr_schedule": lambda _: 0.5})
    assert loaded.learning_rate == 0.5


def test_a_new_buffer_size_on_loading(make_model, tmp_path):
    make_model("Pendulum-v1").save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", env=gym.make("Pendulum-v1"), buffer_size=77)
    assert loaded.replay_buffer.buffer_size == 77


def test_normalised_observations_are_saved_beside_the_model(make_model, tmp_path):
    env = VecNormalize(make_vec_env("Pendulum-v1", n_envs=1))
    model = make_model(env).learn(60)
    model.save(tmp_path / "model")
    env.save(tmp_path / "normalize.pkl")
    restored = VecNormalize.load(tmp_path / "normalize.pkl", make_vec_env("Pendulum-v1", n_envs=1))
    loaded = FlowSAC.load(tmp_path / "model", env=restored)
    normalised = [e.normalize_obs(OBS) for e in (env, restored)]
    np.testing.assert_array_equal(*normalised)
    assert not np.allclose(normalised[0], OBS)
    np.testing.assert_array_equal(
        *[m.predict(o, deterministic=True)[0] for m, o in zip((model, loaded), normalised, strict=True)]
    )
    assert loaded.learn(30, reset_num_timesteps=False)._n_updates > model._n_updates


def test_system_info_is_printed_on_request(make_model, tmp_path, capsys):
    make_model("Pendulum-v1").save(tmp_path / "model")
    FlowSAC.load(tmp_path / "model", print_system_info=True)
    assert "Stable-Baselines3" in capsys.readouterr().out


def test_a_model_is_loaded_to_be_replayed_as_the_zoo_does(make_model, tmp_path):
    make_model("Pendulum-v1").save(tmp_path / "model")
    unused = {"learning_rate": 0.0, "lr_schedule": lambda _: 0.0, "clip_range": lambda _: 0.0}
    model = FlowSAC.load(tmp_path / "model", custom_objects=unused, buffer_size=1)
    assert (model.learning_rate, model.buffer_size) == (0.0, 1)
