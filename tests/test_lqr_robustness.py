"""Returns under disturbances: linear policies against closed forms, saved models, files."""

import json
import math
import pickle
import re

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from experiments.lqr.deterministic import DeterministicPolicy
from experiments.lqr.robustness import (
    Disturbance,
    SavedModel,
    disturbed_returns,
    run_robustness,
)
from maxent_envs import LQRProblem, preset
from sb3_flowsac.evaluation.policies import LinearPolicy

SIZES = {"n_rollouts": 2000, "horizon": 25, "seed": 3}
TINY = {"n_rollouts": 4, "horizon": 3}
PRESETS = ("default", "unstable", "six-state")


def changed(problem, **arguments):
    return LQRProblem(**{**problem.to_dict(), **arguments})


def bias_loss(policy, magnitude, horizon):
    """Cost of the mean path m_{k+1} = (A - BK) m_k + B b from m_0 = 0, to which all else adds without regard to it."""
    problem, K = policy.problem, policy.K
    b = magnitude * np.sqrt(np.diag(K @ problem.initial_cov @ K.T))
    cost, mean, total = problem.Q + K.T @ problem.R @ K, np.zeros(problem.n_states), 0.0
    for step in range(horizon):
        total += problem.gamma**step * mean @ cost @ mean
        mean = policy.closed_loop @ mean + problem.B @ b
    return total


def expected_loss(policy, disturbance, horizon):
    problem, size = policy.problem, disturbance.magnitude
    if disturbance.kind == "input bias":
        return bias_loss(policy, size, horizon)
    arguments = (
        {"noise_cov": size**2 * problem.noise_cov} if disturbance.kind == "process noise" else {"A": size * problem.A}
    )
    disturbed = changed(problem, **arguments).evaluate(policy.alpha, policy.K, policy.Sigma)
    return policy.expected_return(horizon) - disturbed.expected_return(horizon)


DISTURBANCES = [Disturbance("input bias", 0.7), Disturbance("process noise", 5.0), Disturbance("scaled A", 1.15)]


@pytest.mark.parametrize("name", PRESETS)
def test_losses_agree_with_the_closed_form(name):
    policy = preset(name).solve(0.5)
    rows = disturbed_returns(LinearPolicy(policy), policy.problem, DISTURBANCES, **SIZES)
    for disturbance, row in zip(DISTURBANCES, rows, strict=True):
        expected = expected_loss(policy, disturbance, SIZES["horizon"])
        assert abs(row["loss"] - expected) < 4.0 * row["loss_se"], disturbance
        assert row["loss_se"] < 0.1 * expected, disturbance
        assert row["loss"] == pytest.approx(row["undisturbed"] - row["return"])
        assert row["relative_loss"] == pytest.approx(row["loss"] / -row["undisturbed"])


@pytest.mark.parametrize(("kind", "neutral"), [("input bias", 0.0), ("process noise", 1.0), ("scaled A", 1.0)])
def test_no_disturbance_costs_nothing(kind, neutral):
    policy = preset().solve(0.5)
    (row,) = disturbed_returns(LinearPolicy(policy), policy.problem, [Disturbance(kind, neutral)], **SIZES)
    assert (row["loss"], row["loss_se"]) == (0.0, 0.0)


def test_entropy_buys_a_linear_controller_no_robustness():
    problem = preset()
    cold, warm = problem.solve(0.05), problem.solve(1.0)
    rows = [
        disturbed_returns(LinearPolicy(policy, deterministic=True), problem, DISTURBANCES, **SIZES)
        for policy in (cold, warm)
    ]
    assert rows[0] == rows[1]
    bias, noise, mismatch = DISTURBANCES
    for same in (bias, noise):
        assert expected_loss(cold, same, 25) == pytest.approx(expected_loss(warm, same, 25), rel=1e-9)
        # and yet the relative loss is smaller: there is more to lose beforehand
        shares = [expected_loss(policy, same, 25) / -policy.expected_return(25) for policy in (cold, warm)]
        assert shares[1] < 0.8 * shares[0]
    assert expected_loss(cold, mismatch, 25) < expected_loss(warm, mismatch, 25)


@pytest.mark.parametrize(("kind", "magnitude"), [("wind", 1.0), ("input bias", math.nan)])
def test_a_bad_disturbance_is_named(kind, magnitude):
    with pytest.raises(ValueError, match=r"kind must be one of|magnitude must be a finite number"):
        Disturbance(kind, magnitude)


# Saved models


def test_study_compares_saved_models_and_optima(tmp_path, make_model, capsys):
    problem = preset()
    env = make_vec_env("MaxEntLQR-v0", n_envs=1)
    make_model(env, gamma=problem.gamma).save(tmp_path / "flow.zip")
    SAC("MlpPolicy", env, policy_kwargs={"net_arch": [4]}, buffer_size=10, device="cpu").save(tmp_path / "sac.zip")
    policies = {
        "flow": SavedModel(tmp_path / "flow.zip"),
        "SAC": SavedModel(tmp_path / "sac.zip", SAC),
        "optimum": problem.solve(0.5),
    }
    assert pickle.loads(pickle.dumps(policies))["optimum"].K == pytest.approx(policies["optimum"].K)
    arguments = {"problem": problem, "out": tmp_path / "out", "disturbances": DISTURBANCES, **TINY}
    rows = run_robustness(policies=policies, **arguments)
    assert json.loads((tmp_path / "out" / "robustness.json").read_text()) == rows
    assert (tmp_path / "out" / "robustness.png").read_bytes().startswith(b"\x89PNG")
    named = [(row["label"], row["controller"], row["optimum"], row["kind"], row["magnitude"]) for row in rows]
    assert named == [
        (label, controller, label == "optimum", change.kind, change.magnitude)
        for label in policies
        for controller in ("stochastic", "deterministic")
        for change in DISTURBANCES
    ]
    printed = capsys.readouterr().out
    assert all(part in printed for part in ("undisturbed", "process noise", "optimum", "robustness.png"))
    assert run_robustness(policies=policies, **arguments) == rows
    assert "3 of 3 results are kept" in capsys.readouterr().out
    make_model(env, gamma=problem.gamma, seed=1).save(tmp_path / "flow.zip")
    with pytest.raises(ValueError, match=r"flow.json holds a result of another study \(policy differ\)"):
        run_robustness(policies=policies, **arguments)


def test_deterministic_policy_is_what_predict_says(make_model):
    env = VecNormalize(make_vec_env("MaxEntLQR-v0", n_envs=1), norm_reward=False)
    env.obs_rms.mean, env.obs_rms.var = np.array([1.0, -1.0]), np.array([4.0, 0.25])
    model = make_model(env, policy_kwargs={"squash_output": False})
    states = np.array([[1.0, 2.0], [50.0, -3.0]])
    actions = DeterministicPolicy(model).sample(states, 3, torch.Generator())[0]
    expected, _ = model.predict(env.normalize_obs(states.astype(np.float32)), deterministic=True)
    assert actions.shape == (2, 3, 2)
    assert np.array_equal(actions, np.repeat(expected[:, None], 3, axis=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policies": {}}, "policies and disturbances must name at least one"),
        ({"disturbances": []}, "policies and disturbances must name at least one"),
        ({"n_rollouts": 1}, "n_rollouts must be an integer"),
        ({"horizon": 0}, "horizon must be an integer"),
        ({"jobs": 0}, "jobs must be an integer"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(tmp_path, changes, message):
    arguments = {"policies": {"optimum": preset().solve(0.5)}, "problem": preset(), "out": tmp_path / "out"}
    with pytest.raises(ValueError, match=re.escape(message)):
        run_robustness(**{**arguments, **changes})
    assert not (tmp_path / "out").exists()
