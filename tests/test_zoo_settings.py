"""Settings for the RL Zoo: every entry runs, the LQR's fit its problem, unknown keys are named before the hand-over."""

import importlib.util
import inspect
import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
import yaml

pytest.importorskip("rl_zoo3")

import rl_zoo3.exp_manager
import rl_zoo3.utils

from maxent_envs import derived_action_bound, preset
from sb3_flowsac import FlowSAC, zoo
from sb3_flowsac.algorithm.critics import QuadraticCritic
from sb3_flowsac.cli import main
from sb3_flowsac.zoo.settings import OPTIONS, ZOO_KEYS, read_settings

ENTRIES = yaml.safe_load(zoo.config_file().read_text())
WANTED = {"MaxEntLQR-v0", "MultiGoal-v0", "BoltzmannBandit-v0", "Pendulum-v1", "MountainCarContinuous-v0", "default"}
WANTED |= {"LunarLanderContinuous-v3", "BipedalWalker-v3"}
WANTED |= {"HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5"}
pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def models(monkeypatch):
    """The models that the Zoo makes, in place of their training."""
    made = []
    monkeypatch.setattr(FlowSAC, "learn", lambda self, *args, **kwargs: made.append(self))
    return made


def test_there_is_an_entry_for_each_environment_that_the_docs_name():
    assert set(ENTRIES) == WANTED


@pytest.mark.parametrize("name", sorted(WANTED))
def test_every_entry_runs(name, empty_folder):
    """Forty steps with the entry's own settings, but for the length of the run and small batches."""
    env = name if name != "default" else "Other-v0"
    if env not in gym.registry:
        gym.register(env, "gymnasium.envs.classic_control:PendulumEnv", max_episode_steps=200)
    needed = {"gymnasium.envs.box2d": "Box2D", "gymnasium.envs.mujoco": "mujoco"}
    module = next((module for place, module in needed.items() if gym.spec(env).entry_point.startswith(place)), None)
    if module is not None and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    short = ["learning_starts:16", "train_freq:8", "batch_size:16", "buffer_size:100"]
    net = [] if "policy_kwargs" in ENTRIES[name] else ["policy_kwargs:dict(net_arch=[16])"]
    main(["train", "--env", env, "-n", "40", "--seed", "1", "--eval-freq", "-1", "-params", *short, *net])
    model = FlowSAC.load(empty_folder / "logs" / "flowsac" / f"{env}_1" / f"{env}.zip")
    assert model.num_timesteps >= 40 and model._n_updates >= 1
    kept = "gamma", "ent_coef", "n_next_actions", "actor_batch_size", "policy_delay", "actor_loss"
    for key in ENTRIES[name].keys() & set(kept):
        assert getattr(model, key) == ENTRIES[name][key]


def test_the_lqrs_entry_fits_the_problem(models):
    """Its discount factor and temperature are the environment's own, its critic has the shape of the values."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # such as that of another gamma
        main(["train", "--env", "MaxEntLQR-v0", "--seed", "3", "--eval-freq", "-1"])
    (model,) = models
    (problem, *_), (alpha, *_) = (model.get_env().get_attr(name) for name in ("problem", "alpha"))
    assert problem.to_dict() == preset().to_dict()
    assert model.gamma == problem.gamma and model.ent_coef == alpha
    assert isinstance(model.critic, QuadraticCritic) and not model.policy.squash_output
    assert np.array_equal(model.action_space.high, derived_action_bound(problem, alpha).astype(np.float32))


def test_settings_in_python(models):
    """The example beside the entries: what it leaves out a search finds, the rest is the entry's."""
    example = zoo.config_file().parent / "lqr_search.py"
    main(["train", "--env", "MaxEntLQR-v0", "--conf-file", str(example), "--eval-freq", "-1"])
    (model,) = models
    assert (model.policy.squash_output, model.gamma) == (False, 0.95)
    assert model.policy_delay == FlowSAC("FlowPolicy", "Pendulum-v1").policy_delay


def test_keys_of_the_zoo_are_those_of_its_source():
    source = inspect.getsource(rl_zoo3.exp_manager.ExperimentManager) + inspect.getsource(
        rl_zoo3.utils.get_wrapper_class
    )
    source += inspect.getsource(rl_zoo3.utils.get_callback_list)
    used = set(re.findall(r'hyperparams\[["\'](\w+)', source)) | set(
        re.findall(r'["\'](\w+)["\'] in hyperparams\b', source)
    )
    used |= set(re.findall(r'get_wrapper_class\(hyperparams, "(\w+)"\)', source)) | {
        "env_wrapper"
    }  # the default of its key
    ours = set(inspect.signature(FlowSAC).parameters)
    assert ZOO_KEYS == used - ours
    assert OPTIONS < ours


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (["learning_rte:1e-3"], ["-params", "'learning_rte'", "learning_rate"]),
        (["n_step:2"], ["-params", "'n_step'", "n_steps"]),
        (["n_env:2"], ["-params", "'n_env'", "n_envs"]),
        (["zzz:2"], ["-params", "'zzz'", "ent_coef"]),
        (["seed:2"], ["-params", "'seed'", "--seed"]),
        (["policy_kwargs:'dict(net_arch='"], ["-params", "SyntaxError"]),
        (["policy:MlpPolicy"], ["-params", "MlpPolicy", "quotes"]),
    ],
)
@pytest.mark.parametrize("verb", ["train", "tune"])
def test_unknown_keys_of_the_command_are_named(verb, params, said, capsys, monkeypatch, empty_folder):
    monkeypatch.setattr("rl_zoo3.train.ExperimentManager", lambda *_, **__: pytest.fail("handed over"))
    error = error_of([verb, "--env", "Pendulum-v1", "-params", *params], capsys)
    assert all(part in error for part in said), error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Pendulum-v1: {n_timesteps: 9, policy: FlowPolicy, lerning_rate: 1}", ["'lerning_rate'", "learning_rate"]),
        ("default: {n_timesteps: 9, policy: FlowPolicy, normalise: true}", ["'normalise'", "normalize"]),
        ("Pendulum-v1: {policy: FlowPolicy}", ["'n_timesteps'", "missing"]),
        ("Pendulum-v1: {n_timesteps: 9}", ["'policy'", "missing"]),
        ("Pendulum-v0: {}", ["default"]),
        ("- a list", ["cannot be read"]),
        ("Pendulum-v1: {a: [", ["mine.yml", "cannot be read"]),
    ],
)
def test_unknown_keys_of_a_file_are_named(text, said, capsys, monkeypatch, empty_folder):
    monkeypatch.setattr("rl_zoo3.train.ExperimentManager", lambda *_, **__: pytest.fail("handed over"))
    (empty_folder / "mine.yml").write_text(text)
    error = error_of(["train", "--env", "Pendulum-v1", "--conf-file", "mine.yml"], capsys)
    assert all(part in error for part in [*said, "Pendulum-v1", "mine.yml"]), error


@pytest.mark.parametrize("name", ["mine.py", "mine_without.py", "no_such_module"])
def test_settings_in_python_that_cannot_be_read(name, capsys, empty_folder):
    (empty_folder / "mine.py").write_text(
        "hyperparams = {'Pendulum-v1': dict(n_timesteps=9, policy='FlowPolicy', n_proposal=4)}"
    )
    (empty_folder / "mine_without.py").write_text("settings = {}")
    said = {
        "mine.py": ["'n_proposal'", "n_proposals"],
        "mine_without.py": ["hyperparams"],
        "no_such_module": ["no_such_module"],
    }
    error = error_of(["train", "--env", "Pendulum-v1", "--conf-file", name], capsys)
    assert all(part in error for part in said[name]), error


def test_what_is_known_passes(empty_folder):
    entry = {"n_timesteps": 9, "policy": "a.Policy", "normalize": True, "callback": [], "train_freq": [2, "step"]}
    kwargs = "dict(net_arch=[4], activation_fn=nn.SiLU)"
    (empty_folder / "mine.yml").write_text(yaml.safe_dump({"default": {**entry, "policy_kwargs": kwargs}}))
    settings = read_settings("mine.yml", "Other-v0", {"n_timesteps": 7})
    assert settings.pop("policy_kwargs")["net_arch"] == [4]
    assert settings == {**entry, "n_timesteps": 7}


def error_of(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]
