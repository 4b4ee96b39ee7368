"""Hyperparameter search through the Zoo: what is tried, what is never touched, and where it is kept."""

import sys

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rl_zoo3")

import optuna
import rl_zoo3.train
import sqlalchemy.exc
from optuna.trial import TrialState

from sb3_flowsac import FlowSAC, zoo
from sb3_flowsac.algorithm.finite import DivergenceError
from sb3_flowsac.cli import main
from sb3_flowsac.zoo.search import (
    IN_POLICY_KWARGS,
    SPACE,
    convert_flowsac_params,
    prepare_study,
    sample_flowsac_params,
    searched,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)
EVERYTHING = [
    "learning_rate",
    "gamma",
    "batch_size",
    "policy_delay",
    "n_proposals",
    "sampling_distribution",
    "ent_coef",
]
# Small and few updates: these searches test the way, not what is found
ENTRY = {
    "n_timesteps": 64,
    "policy": "FlowPolicy",
    "learning_starts": 48,
    "train_freq": 8,
    "buffer_size": 200,
    "batch_size": 8,
}
SMALL = {"net_arch": [8], "ode_steps": 1}
QUICK = ["--eval-episodes", "1", "--n-evaluations", "1", "--no-optim-plots"]
pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.fixture
def models(monkeypatch):
    """The models that trials make, with the settings they were given."""
    made = []
    learn = FlowSAC.learn

    def noted(self, *args, **kwargs):
        made.append(self)
        return learn(self, *args, **kwargs)

    monkeypatch.setattr(FlowSAC, "learn", noted)
    return made


def study_of(storage="sqlite:///tune.db", name="search"):
    return optuna.load_study(study_name=name, storage=storage)


def tune(*arguments, trials=1):
    settings = ["--storage", "sqlite:///tune.db", "--study-name", "search", "--max-total-trials", str(trials)]
    main(["tune", *settings, *QUICK, *arguments])
    return study_of()


def test_a_search_of_diverging_trials_alone_says_so(monkeypatch):
    def diverge(self, *args, **kwargs):
        raise DivergenceError

    monkeypatch.setattr(FlowSAC, "learn", diverge)
    with pytest.raises(SystemExit, match="no trial has finished"):
        tune("--env", "MaxEntLQR-v0", "-n", "64")


# What is tried


@given(
    st.sets(st.sampled_from(EVERYTHING)),
    st.sets(st.sampled_from([*IN_POLICY_KWARGS, "squash_output"])),
    st.integers(0, 2**31),
)
def test_what_is_fixed_is_never_sampled(fixed, in_policy, seed):
    marks = {name: object() for name in in_policy}
    settings = {**dict.fromkeys(fixed, None), "n_timesteps": 9, "policy": "FlowPolicy", "policy_kwargs": marks}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    sampled = sample_flowsac_params(trial, 1, 1, {}, settings=settings)
    assert sampled.keys() - {"policy_kwargs"} == set(EVERYTHING) - fixed
    policy = sampled.get("policy_kwargs", marks)
    assert marks.items() <= policy.items()
    assert policy.keys() == in_policy | (set(IN_POLICY_KWARGS) if "policy_kwargs" in sampled else set())
    assert set(trial.params) == set(searched(settings))
    # Read back from the study, for --trial-id, it is the same
    assert convert_flowsac_params(trial.params, settings) == sampled


def test_every_choice_is_an_argument_of_flowsac():
    """At the ends of the ranges, and every choice once."""
    for i in range(max(map(len, SPACE.values()))):
        params = {name: values[i % len(values)] for name, values in SPACE.items()}
        FlowSAC("FlowPolicy", "Pendulum-v1", **convert_flowsac_params(params), buffer_size=10)


def test_without_the_settings_names_in_the_study_are_fixed():
    """Where the Zoo is called directly, it has noted the settings' names in the study before the first trial."""
    study = optuna.create_study()
    for name in ("gamma", "policy", "policy_kwargs", "command"):
        study.set_user_attr(name, "a text")
    sampled = sample_flowsac_params(study.ask(), 1, 1, {})
    assert sampled.keys() == set(EVERYTHING) - {"gamma"}


def test_the_defaults_are_tried_first():
    """They are in the ranges and choices, and what is made of them is FlowSAC as it is without any, but for the rate,
    which is constant."""
    prepare_study("sqlite:///tune.db", "search", SPACE)
    prepare_study("sqlite:///tune.db", "search", SPACE)
    (trial,) = study_of().trials
    sampled = sample_flowsac_params(study_of().ask(), settings={})
    params = study_of().trials[0].params
    assert trial.state == TrialState.WAITING and convert_flowsac_params(params) == sampled
    for name, values in SPACE.items():
        assert values[0] <= params[name] <= values[1] if isinstance(values, tuple) else params[name] in values
    tried = FlowSAC("FlowPolicy", "Pendulum-v1", **sampled, buffer_size=10)
    plain = FlowSAC("FlowPolicy", "Pendulum-v1", buffer_size=10)
    assert tried.learning_rate == plain.learning_rate.value
    names = "batch_size", "policy_delay", "n_proposals", "ent_coef"
    assert all(getattr(tried, name) == getattr(plain, name) for name in names)
    assert tried.gamma == pytest.approx(plain.gamma, abs=1e-12)
    assert type(tried.sampling_distribution) is type(plain.sampling_distribution)
    assert str(tried.policy) == str(plain.policy)


# Searches


def test_the_lqrs_settings_survive_a_trial(models, capsys):
    """What the entry names, squash_output=False and gamma among it, is in the model of a trial; the Zoo would replace
    it."""
    study = tune("--env", "MaxEntLQR-v0", "-n", "240", "--num-threads", "1", "-params", "n_envs:8", "batch_size:16")
    (model,), (trial,) = models, study.trials
    assert trial.state == TrialState.COMPLETE
    assert trial.params == {"n_proposals": 16} and model.n_proposals == 16  # the first trial is the defaults
    assert (model.policy.squash_output, model.policy.net_arch, model.gamma) == (False, [64, 64], 0.95)
    assert type(model.sampling_distribution).__name__ == "Mixture"
    assert model.policy_kwargs["activation_fn"] is torch.nn.SiLU
    assert "Searching n_proposals;" in capsys.readouterr().out


def test_a_search_within_policy_kwargs_and_a_trial_trained_again(models, capsys, empty_folder):
    """net_arch is tried beside squash_output=False, and --trial-id brings both back."""
    policy = "policy_kwargs:dict(squash_output=False, n_critics=1)"
    overrides = [f"{name}:{value!r}" for name, value in ENTRY.items() if name != "n_timesteps"]
    overrides += [
        "ent_coef:0.1",
        "gamma:0.9",
        "policy_delay:1",
        "sampling_distribution:'defensive'",
        policy,
    ]
    # The package's entry fixes more of what is searched here
    (empty_folder / "mine.yml").write_text(yaml.safe_dump({"Pendulum-v1": {"n_timesteps": 64, "policy": "FlowPolicy"}}))
    command = ["--env", "Pendulum-v1", "--conf-file", "mine.yml"]
    study = tune(*command, "-params", *overrides, trials=2)
    trial = study.trials[1]
    assert set(trial.params) == {"learning_rate", "n_proposals", "net_arch", "ode_steps"}
    main(
        [
            "train",
            *command,
            "--storage",
            "sqlite:///tune.db",
            "--study-name",
            "search",
            "--trial-id",
            "1",
            "--eval-freq",
            "-1",
        ]
    )
    of_trial, again = models[1], models[2]
    for model in (of_trial, again):
        assert model.lr_schedule(1.0) == trial.params["learning_rate"]
        assert model.n_proposals == trial.params["n_proposals"]
        assert model.policy_kwargs["ode_steps"] == trial.params["ode_steps"]
    assert of_trial.policy_kwargs["squash_output"] is False and of_trial.policy_kwargs["n_critics"] == 1
    assert of_trial.policy_kwargs["net_arch"] == again.policy_kwargs["net_arch"]


def test_a_search_in_a_script_of_two_statements(models, monkeypatch, empty_folder):
    (empty_folder / "mine.yml").write_text(
        yaml.safe_dump({"Pendulum-v1": {**ENTRY, "policy_kwargs": {**SMALL, "n_critics": 1}}})
    )
    command = [
        "train.py",
        "--algo",
        "flowsac",
        "--env",
        "Pendulum-v1",
        "--conf-file",
        "mine.yml",
        "-optimize",
        "--n-trials",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", [*command, *QUICK, "--storage", "sqlite:///tune.db", "--study-name", "search"])
    zoo.register()
    rl_zoo3.train.train()
    (trial,) = study_of().trials
    assert set(trial.params) == set(SPACE) - {"batch_size", *IN_POLICY_KWARGS}
    assert models[0].policy_kwargs == {**SMALL, "n_critics": 1}
    assert models[0].batch_size == 8


def test_a_trial_that_diverges_is_pruned(monkeypatch, empty_folder):
    monkeypatch.setattr(FlowSAC, "learn", lambda self, *args, **kwargs: diverge())
    with pytest.raises(SystemExit):  # the Zoo wants a best trial, and there is none
        tune("--env", "Pendulum-v1", trials=2)
    assert [trial.state for trial in study_of().trials] == 2 * [TrialState.PRUNED]
    assert rl_zoo3.ALGOS["flowsac"] is FlowSAC


def diverge():
    raise DivergenceError("the critics diverge")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tune", "-params", "n_proposals:8"], ["nothing to search"]),
        (["tune", "--resume", "here", "--seed", "1"], ["--resume"]),
        (["train", "--trial-id", "3"], ["--trial-id", "--storage", "--study-name"]),
        (["train", "--trial-id", "0", "--storage", "a.log", "--study-name", "b"], ["--trial-id"]),
    ],
)
def test_bad_arguments_are_named(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert all(part in error for part in said), error


# Where a search is kept


def test_two_that_make_the_tables_of_a_database_at_once(monkeypatch):
    """SQLite lets one of them fail; it tries again."""
    create, calls = optuna.create_study, []

    def fail_once(**kwargs):
        calls.append(kwargs)
        if len(calls) == 1:
            raise sqlalchemy.exc.IntegrityError("INSERT", None, Exception("UNIQUE constraint failed"))
        return create(**kwargs)

    monkeypatch.setattr("sb3_flowsac.zoo.search.time.sleep", lambda _: None)
    monkeypatch.setattr(optuna, "create_study", fail_once)
    assert prepare_study("sqlite:///tune.db", "search", []) == "search"
    assert len(calls) == 2


def test_where_a_search_is_kept(monkeypatch, empty_folder, capsys):
    """By default in a database of the log folder. A journal by its full name, to which its lock points."""
    seen = []

    def note(args, *_, **__):
        seen.append((args.storage, args.study_name))
        raise SystemExit

    monkeypatch.setattr("rl_zoo3.train.ExperimentManager", note)
    (empty_folder / "there").mkdir()
    for storage in (["--storage", "there/tune.log", "--study-name", "search"], []):
        with pytest.raises(SystemExit):
            main(["tune", "--env", "Pendulum-v1", *storage])
    assert seen[0] == (str(empty_folder / "there" / "tune.log"), "search")
    assert seen[1][0].startswith("sqlite:///logs/") and f"--study-name {seen[1][1]}" in capsys.readouterr().out
    assert study_of(*seen[1]).trials[0].state == TrialState.WAITING
