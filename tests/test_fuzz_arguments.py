"""Whatever an argument of FlowSAC, of its policy or of the environments is given: it is taken, or refused by name."""

import inspect
import re

import gymnasium as gym
import numpy as np
import pytest
from anything import ANYTHING, NUMBERS, fuzz
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_util import make_vec_env

from maxent_envs import BoltzmannBanditEnv, LQREnv, LQRProblem, MultiGoalEnv, preset, random_problem
from maxent_envs.targets import Banana, BoundMaximum, CorrelatedGaussian, Ring, RotatingMixture, SharpGaussian, TwoHumps
from sb3_flowsac import FlowPolicy, FlowSAC
from sb3_flowsac.isfm import CurrentPolicy, Mixture, UniformBox
from sb3_flowsac.isfm.registry import SAMPLING_DISTRIBUTIONS

TINY = {"learning_starts": 10, "batch_size": 8, "buffer_size": 100, "n_proposals": 4, "seed": 0, "device": "cpu"}
# What is no value but an object of the user's: env is checked by SB3; the rest is looked at where it is used
NOT_FUZZED = {"self", "env", "tensorboard_log", "_init_setup_model"}
ARGUMENTS = sorted(set(inspect.signature(FlowSAC.__init__).parameters) - NOT_FUZZED)
SPACES = {"self", "observation_space", "action_space", "lr_schedule"}
POLICY_ARGUMENTS = sorted(set(inspect.signature(FlowPolicy.__init__).parameters) - SPACES)
ENV_ARGUMENTS = sorted({*inspect.signature(LQREnv).parameters, *LQRProblem.argument_names()} - {"matrices"})
BUILT_IN_TARGETS = (Banana, BoundMaximum, CorrelatedGaussian, Ring, RotatingMixture, SharpGaussian, TwoHumps)
OTHER_KINDS = (BoltzmannBanditEnv, MultiGoalEnv, *BUILT_IN_TARGETS)
OTHER_ARGUMENTS = [(kind, name) for kind in OTHER_KINDS for name in inspect.signature(kind).parameters]
MATRICES = {"A": [[1.0]], "B": [[1.0]], "Q": [[1.0]], "R": [[1.0]]}


@pytest.fixture(scope="module")
def env():
    """One environment for all models."""
    return gym.make("Pendulum-v1")


def build(env, **arguments):
    policy_kwargs = {"net_arch": [4]}
    return FlowSAC(**{"policy": "FlowPolicy", "env": env, "policy_kwargs": policy_kwargs, **TINY, **arguments})


def attempt_argument(env, name):
    def attempt(value):
        model = build(env, **{name: value})
        kept = getattr(model, name, None)
        if isinstance(value, int | float) and isinstance(kept, int | float):
            assert kept == value  # and no default in its place

    return attempt


def attempt_policy_argument(env, name):
    def attempt(value):
        policy = build(env, policy_kwargs={"net_arch": [4], name: value}).policy
        policy.predict(np.zeros(3, np.float32))

    return attempt


def attempt_env_argument(kind, name):
    def attempt(value):
        env = kind(**{**(MATRICES if name in LQRProblem.argument_names() else {}), name: value})
        env.reset(seed=0)
        env.step(np.zeros(env.problem.n_inputs))

    return attempt


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_the_algorithm(env, name):
    assert fuzz(name, attempt_argument(env, name), ANYTHING, 12)[0] > 5


@pytest.mark.parametrize("name", POLICY_ARGUMENTS)
def test_arguments_of_the_policy(env, name):
    assert fuzz(name, attempt_policy_argument(env, name), ANYTHING, 12)[0] > 5


@pytest.mark.parametrize("name", ENV_ARGUMENTS)
def test_arguments_of_the_environment(name):
    assert fuzz(name, attempt_env_argument(LQREnv, name), ANYTHING, 30)[0] > 5


@pytest.mark.parametrize(("kind", "name"), OTHER_ARGUMENTS)
def test_arguments_of_the_other_environments_and_targets(kind, name):
    def attempt(value):
        made = kind(**{name: value})
        env = made if isinstance(made, gym.Env) else BoltzmannBanditEnv(made)
        env.reset(seed=0)
        env.step(np.zeros(env.action_space.shape))

    assert fuzz(name, attempt, ANYTHING, 30)[0] > 5


@pytest.mark.parametrize("name", ["n_states", "n_inputs", "seed", "spectral_radius", "noise_std", "gamma"])
def test_arguments_of_a_random_problem(name):
    def attempt(value):
        random_problem(**{"n_states": 2, "n_inputs": 1, "seed": 0, name: value})

    assert fuzz(name, attempt, ANYTHING, 30)[0] > 5


@pytest.mark.study
def test_every_argument_with_many_values(env, capsys):
    """Prints how many values were tried and how many of them were taken."""
    counts = np.zeros(2, int)
    for name in ARGUMENTS:
        counts += fuzz(name, attempt_argument(env, name), ANYTHING | NUMBERS, 300)
    for name in POLICY_ARGUMENTS:
        counts += fuzz(name, attempt_policy_argument(env, name), ANYTHING | NUMBERS, 300)
    for name in ENV_ARGUMENTS:
        counts += fuzz(name, attempt_env_argument(LQREnv, name), ANYTHING | NUMBERS, 1000)
    with capsys.disabled():
        print(f"\n{counts[0]} values tried, {counts[1]} taken, {counts[0] - counts[1]} refused by name")
    assert counts[1] > 500


SETTINGS = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(1e-6, 1e-2) | st.just(lambda progress: 1e-3 * progress),
        "buffer_size": st.integers(6, 60),
        "learning_starts": st.integers(0, 12),
        "batch_size": st.integers(1, 12),
        "tau": st.floats(0.0, 1.0),
        "gamma": st.floats(0.0, 1.0),
        "train_freq": st.integers(1, 5) | st.just((3, "step")),
        "gradient_steps": st.integers(-1, 3),
        "n_steps": st.integers(1, 6),
        "ent_coef": st.sampled_from(["auto", "auto_0.1"]) | st.floats(1e-8, 1e4),
        "target_entropy": st.just("auto") | st.floats(-10, 0.6),
        "target_update_interval": st.integers(1, 5),
        "policy_delay": st.integers(1, 3),
        "actor_loss": st.sampled_from(["both", "isfm", "pathwise"]),
        "min_effective_proposals": st.floats(1.0, 20.0),
        "isfm_interval": st.integers(1, 3),
        "n_proposals": st.integers(4, 9),
        "n_next_actions": st.integers(1, 3),
        "actor_batch_size": st.none() | st.integers(1, 20),
        "sampling_distribution": st.sampled_from(sorted(SAMPLING_DISTRIBUTIONS)),
        "policy_kwargs": st.fixed_dictionaries(
            {
                "net_arch": st.lists(st.integers(1, 5), max_size=2),
                "squash_output": st.booleans(),
                "base": st.sampled_from(["gaussian", "standard"]),
                "log_std_init": st.floats(-6.0, 1.0),
                "field": st.sampled_from(["structured", "mlp"]),
                "ode_steps": st.integers(1, 3),
                "ode_solver": st.sampled_from(["midpoint", "heun", "rk4", "euler"]),
                "ode_grid_power": st.floats(0.1, 10.0),
                "density": st.sampled_from(["exact", "trace"]),
                "n_critics": st.integers(1, 3),
                "critic": st.sampled_from(["batch_renorm", "network", "quadratic"]),
                "share_features_extractor": st.booleans(),
                "n_action_candidates": st.integers(1, 4),
                "n_acting_candidates": st.integers(1, 4),
            }
        ),
    }
)


def train_a_little(env, arguments):
    if arguments["policy_kwargs"]["base"] == "standard":
        arguments["actor_loss"] = "isfm"  # the other losses need a base with parameters
    model = build(env, **arguments)
    model.learn(25)
    assert model.num_timesteps >= 25
    assert model._n_updates > 0 or arguments["gradient_steps"] == 0
    assert all(parameter.isfinite().all() for parameter in model.policy.parameters())
    assert env.action_space.contains(model.predict(np.zeros(3, np.float32))[0])


@settings(max_examples=8)
@given(SETTINGS)
def test_valid_settings_train_together(arguments):
    train_a_little(gym.make("Pendulum-v1"), arguments)


@pytest.mark.study
def test_many_valid_settings_train_together():
    env = gym.make("Pendulum-v1")
    settings(max_examples=300)(given(SETTINGS)(lambda arguments: train_a_little(env, arguments)))()


def test_near_misses_are_named(env):
    with pytest.raises(TypeError, match="did you mean ode_steps"):
        build(env, policy_kwargs={"ode_step": 2})
    with pytest.raises(TypeError, match=r"'trunk'.*it takes activation_fn, base"):
        build(env, policy_kwargs={"trunk": 2})


@pytest.mark.parametrize(
    ("kwargs", "n_steps", "message"),
    [
        ({"pi": None}, 1, "'pi', which ReplayBuffer does not take; it takes handle_timeout_termination"),
        ({"n_envs": 2}, 1, "'n_envs', which ReplayBuffer does not take"),
        ({"handle_timeouts": True}, 3, "NStepReplayBuffer does not take; did you mean handle_timeout_termination?"),
    ],
)
def test_what_a_replay_buffer_does_not_take_is_named(env, kwargs, n_steps, message):
    with pytest.raises(TypeError, match=f"^replay_buffer_kwargs has the key .*{re.escape(message)}"):
        build(env, replay_buffer_kwargs=kwargs, n_steps=n_steps)


def test_a_policy_class_of_the_users_may_take_more(env):
    class Own(FlowPolicy):
        def __init__(self, *args, extra=1, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = extra

    assert build(env, policy=Own, policy_kwargs={"net_arch": [4], "extra": 3, "ode_steps": 1}).policy.extra == 3
    with pytest.raises(TypeError, match=r"extras.*did you mean extra"):
        build(env, policy=Own, policy_kwargs={"extras": 3})


def test_a_mixture_has_a_minimum_of_its_own(env):
    shares = Mixture([Mixture([CurrentPolicy(), UniformBox()], [0.5, 0.5]), UniformBox()], [0.5, 0.5])
    for n_proposals, fits in ((1, False), (2, False), (3, False), (4, True)):
        if fits:
            build(env, sampling_distribution=shares, n_proposals=n_proposals)
        else:
            with pytest.raises(ValueError, match="n_proposals"):
                build(env, sampling_distribution=shares, n_proposals=n_proposals)


def test_episodes_need_a_single_environment(make_model):
    with pytest.raises(ValueError, match=r"train_freq.*single environment, there are 2"):
        make_model(make_vec_env("Pendulum-v1", n_envs=2), train_freq=(1, "episode"))


def test_what_a_file_brings_is_checked_again(make_model, tmp_path):
    make_model("Pendulum-v1").save(tmp_path / "model")
    for name, value in (("learning_rate", -1.0), ("gamma", 1.5), ("batch_size", 0)):
        with pytest.raises(ValueError, match=name):
            FlowSAC.load(tmp_path / "model", custom_objects={name: value})


def test_numpy_numbers_are_numbers(env):
    model = build(
        env, batch_size=np.int64(8), learning_rate=np.float32(0.5), gamma=np.float64(0.9), train_freq=np.int32(2)
    )
    assert type(model.batch_size) is int and type(model.gamma) is float
    assert model.learning_rate == 0.5 and model.train_freq.frequency == 2


def test_the_default_preset_passes():
    assert LQREnv().problem == preset()
