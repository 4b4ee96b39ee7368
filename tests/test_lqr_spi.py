"""Soft policy iteration with a flow: its parts against closed forms, and the study from its arguments to its files."""

import json
import re

import numpy as np
import pytest
import torch

from experiments.lqr.spi import execute, run_spi, start
from experiments.lqr.spi_flow import (
    FlowLQRPolicy,
    SPISettings,
    fit_gaussian,
    improve,
    visited_states,
)
from experiments.lqr.spi_plots import spi_figure
from maxent_envs import preset
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.isfm import effective_sample_size, self_normalize

EVALUATION = EvaluationSettings(n_rollouts=50, horizon=10, n_states=20, n_actions=400, seed=1)
SMALL = SPISettings(
    n_iterations=2, n_steps=40, n_states=256, batch_size=32, n_proposals=8, n_fit_actions=32, evaluation=EVALUATION
)
TINY = SPISettings(
    n_iterations=1, n_steps=2, n_states=16, batch_size=4, n_proposals=4, n_fit_actions=8, evaluation=EVALUATION
)


@pytest.fixture
def gaussian_flow():
    """A flow policy on the default problem whose base is N(-K x, L L') of a given K and L, its field zero, and both."""
    policy = FlowLQRPolicy(preset(), 0.5)
    K, L = np.array([[0.5, -0.2], [0.1, 0.4]]), np.array([[0.6, 0.0], [-0.3, 0.4]])
    scale = policy.scale
    with torch.no_grad():
        policy.actor.trunk = torch.nn.Identity()
        head = policy.actor.flow.base.head = torch.nn.Linear(2, 5)
        scaled = L / scale[:, None]
        lower = scaled[1, 0] / scaled[1, 1]  # rows are relative to the diagonal
        head.weight.zero_()
        head.weight[:2] = torch.as_tensor(-K / scale[:, None])
        head.bias.copy_(torch.tensor([0.0, 0.0, *np.log(np.diag(scaled)), lower]))
        field = torch.nn.Linear(2, policy.actor.flow.field.head.out_features)
        for parameter in field.parameters():
            parameter.zero_()
        policy.actor.flow.field.head = field
    return policy, K, L @ L.T


def states_of(problem, n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, problem.n_states))


def test_fit_recovers_gain_and_covariance_of_a_gaussian_flow(gaussian_flow):
    policy, K, Sigma = gaussian_flow
    n_states, n_actions = 400, 200
    fitted_K, fitted_Sigma = fit_gaussian(
        policy, states_of(preset(), n_states), n_actions, torch.Generator().manual_seed(0)
    )
    # Five standard errors of a regression on unit states, and of a covariance
    assert fitted_K == pytest.approx(K, abs=5 * np.sqrt(Sigma.max() / (n_states * n_actions)))
    assert fitted_Sigma == pytest.approx(Sigma, abs=5 * np.sqrt(2 / (n_states * n_actions)) * Sigma.max())


def test_flow_starts_as_the_start_of_the_exact_iteration():
    problem = preset()
    policy = FlowLQRPolicy(problem, 0.5)
    K0, Sigma0 = start(problem, 0.5)
    K, Sigma = fit_gaussian(policy, states_of(problem, 400), 200, torch.Generator().manual_seed(0))
    assert (K0 == 0).all()
    assert K == pytest.approx(K0, abs=5 * np.sqrt(Sigma0.max() / (400 * 200)))
    assert Sigma == pytest.approx(Sigma0, abs=0.03 * Sigma0.max())


def test_start_of_an_unstable_problem_stabilises_it_far_from_the_optimum():
    problem = preset("unstable")
    K0, Sigma0 = start(problem, 0.5)
    problem.evaluate(0.5, K0, Sigma0)  # refuses what is not stable
    best = problem.solve(0.5).K
    assert np.linalg.norm(K0 - best, 2) > 0.3 * np.linalg.norm(best, 2)


def test_weights_of_the_exact_target_are_equal(gaussian_flow):
    """A policy that is its own improvement: N(-K x, Sigma) with the optimum's gain and covariance."""
    policy, _, _ = gaussian_flow
    problem = preset()
    optimum = problem.solve(0.5)
    states = states_of(problem, 30)
    with torch.no_grad():
        scaled_K, scaled_L = (
            optimum.K / policy.scale[:, None],
            np.linalg.cholesky(optimum.Sigma) / policy.scale[:, None],
        )
        head = policy.actor.flow.base.head
        head.weight[:2] = torch.as_tensor(-scaled_K)
        head.bias.copy_(torch.tensor([0.0, 0.0, *np.log(np.diag(scaled_L)), scaled_L[1, 0] / scaled_L[1, 1]]))
        latents, log_density = policy.distribution(states).sample_with_log_prob(16, antithetic=True)
    q_values = optimum.q_value(states[:, None], latents.double().numpy() * policy.scale)
    weights = self_normalize(torch.as_tensor(q_values / 0.5) - log_density)
    assert effective_sample_size(weights).numpy() == pytest.approx(16.0, rel=1e-4)


def test_visited_states_have_the_second_moment_of_the_discounted_visitation():
    problem = preset()
    policy = problem.solve(0.5)
    rng = np.random.default_rng(0)
    states = visited_states(problem, lambda x: policy.sample(x, rng), 20_000, rng)
    moment, expected = problem.initial_cov, np.zeros((2, 2))
    for step in range(400):
        expected += (1 - problem.gamma) * problem.gamma**step * moment
        moment = policy.next_state_covariance(moment)
    assert states.T @ states / len(states) == pytest.approx(expected, abs=0.05 * np.abs(expected).max())


def test_improvement_comes_near_the_exact_one():
    problem = preset("scalar")
    torch.manual_seed(0)
    policy = FlowLQRPolicy(problem, 0.5)
    first = problem.evaluate(0.5, *start(problem, 0.5))
    iterates = problem.soft_policy_iteration(0.5, first.K, first.Sigma)
    next(iterates)
    improved = next(iterates)
    states = states_of(problem, 256)
    ess = improve(policy, first, states, SPISettings(n_steps=100, batch_size=64, n_proposals=8))
    K, Sigma = fit_gaussian(policy, states, 200, torch.Generator().manual_seed(0))
    assert ess > 0.98
    assert abs(K - improved.K) < 0.1 * abs(improved.K - first.K)
    assert abs(Sigma - improved.Sigma) < 0.1 * abs(improved.Sigma - first.Sigma)


def test_flow_follows_the_exact_iterates_which_are_those_of_lemma_1():
    problem = preset("scalar")
    row = execute(problem, 0.5, 0, SMALL)
    best = problem.solve(0.5)
    K, Sigma = start(problem, 0.5)
    for gain_error, cov_error in zip(*row["exact"].values(), strict=True):
        assert gain_error == pytest.approx(np.linalg.norm(K - best.K) / np.linalg.norm(best.K), abs=1e-9)
        assert cov_error == pytest.approx(np.linalg.norm(Sigma - best.Sigma) / np.linalg.norm(best.Sigma), abs=1e-9)
        F, gamma, B = problem.A - problem.B @ K, problem.gamma, problem.B
        P = (problem.Q + K.T @ problem.R @ K) / (1 - gamma * F**2)  # one state: the Lyapunov equation is a division
        G = problem.R + gamma * B.T @ P @ B
        K, Sigma = gamma * np.linalg.inv(G) @ B.T @ P @ problem.A, 0.25 * np.linalg.inv(G)
    for flow, exact in zip(row["flow"].values(), row["exact"].values(), strict=True):
        assert len(flow) == len(exact) == 3
        assert flow[0] == exact[0]
        assert flow[-1] < 0.2 * flow[0]


def test_study_writes_what_it_says_and_is_kept(tmp_path, capsys, monkeypatch):
    arguments = {"problem": preset(), "alphas": [0.1, 0.5], "seeds": [0, 0], "out": tmp_path / "new", "settings": TINY}
    rows = run_spi(**arguments)
    assert json.loads((tmp_path / "new" / "spi.json").read_text()) == rows
    assert [(row["alpha"], row["seed"]) for row in rows] == [(0.1, 0), (0.5, 0)]
    assert {"flow", "exact", "ess", "mean_error", "cov_error", "seconds"} <= rows[0].keys()
    assert (tmp_path / "new" / "spi.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    for part in ("gain error", "cov. error", "spi.json", "spi.png"):
        assert part in printed
    monkeypatch.setattr("experiments.lqr.spi.improve", None)  # nothing is computed again
    assert run_spi(**arguments) == rows


def test_same_seed_same_result_and_torch_is_left_alone():
    before = torch.random.get_rng_state()
    first, second = (execute(preset(), 0.5, 3, TINY) for _ in range(2))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert torch.equal(torch.random.get_rng_state(), before)
    assert execute(preset(), 0.5, 4, TINY)["flow"] != first["flow"]


def test_a_flow_that_loses_stability_is_named(monkeypatch):
    monkeypatch.setattr("experiments.lqr.spi.improve", lambda *_: 1.0)  # stays at zero gain
    with pytest.raises(RuntimeError, match=r"flow of iteration 1 has no value.*K must stabilise"):
        execute(preset("unstable"), 0.5, 0, TINY)


def test_figure_has_a_column_for_each_temperature_and_a_line_for_each_run():
    errors = {"gain_error": [1.0, 0.1, 0.0], "cov_error": [2.0, 0.2, 0.0]}
    rows = [{"alpha": alpha, "seed": seed, "flow": errors, "exact": errors} for alpha in (0.1, 0.5) for seed in (0, 1)]
    axes = spi_figure(rows).axes
    assert len(axes) == 4
    assert all(len(panel.lines) == 3 for panel in axes)
    assert [list(panel.lines[-1].get_ydata()) for panel in axes[::2]] == [errors["gain_error"], errors["cov_error"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alphas": []}, "alphas must hold 1 or more"),
        ({"alphas": [0.1, -1.0]}, "alphas must be positive"),
        ({"seeds": []}, "seeds must hold 1 or more"),
        ({"seeds": [-1]}, "seeds must be an integer"),
        ({"jobs": 0}, "jobs must be an integer"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(tmp_path, changes, message):
    arguments = {"problem": preset(), "alphas": [0.1], "seeds": [0], "out": tmp_path / "out", "settings": TINY}
    with pytest.raises(ValueError, match=re.escape(message)):
        run_spi(**{**arguments, **changes})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_iterations": 0}, "n_iterations must be an integer"),
        ({"n_proposals": 1}, "n_proposals must be an integer of at least 2"),
        ({"n_fit_actions": 1}, "n_fit_actions must be an integer of at least 2"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SPISettings(**changes)


@pytest.mark.study
@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_flow_reaches_the_optimum(alpha, seed):
    row = execute(preset(), alpha, seed, SPISettings())
    assert row["mean_error"] < 0.01
    assert row["cov_error"] < 0.02
