"""The evaluation against policies whose errors are known in closed form, and the study from its arguments to its
files."""

import json
import math
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats
from stable_baselines3 import SAC

import maxent_envs
from experiments.lqr.sac import QuadraticSACCritic, tuned_sac_model
from maxent_envs import LQRProblem, preset
from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.finite import DivergenceError
from sb3_flowsac.callbacks import LQROptimalityCallback
from sb3_flowsac.evaluation.lqr import EvaluationSettings, distribution_errors, evaluate_policy_on_lqr
from sb3_flowsac.evaluation.policies import LearntPolicy
from sb3_flowsac.evaluation.rollouts import paired_returns
from sb3_flowsac.lqr_study import study, training
from sb3_flowsac.lqr_study.models import (
    N_ENVS,
    episode_steps,
    lqr_model,
)
from sb3_flowsac.lqr_study.plots import save_plots
from sb3_flowsac.lqr_study.study import run_study
from sb3_flowsac.lqr_study.training import RunSpec
from sb3_flowsac.plotting import action_distribution_figure

PAGE = Path(__file__).parent.parent / "docs" / "lqr.md"
TINY = EvaluationSettings(n_rollouts=8, horizon=5, n_states=4, n_actions=20, seed=0)
PRESETS = ("default", "scalar", "six-state")


class GaussianPolicy:
    """N(-K x, Sigma), with the noise that the evaluation asks for and a Box of a given bound."""

    device = torch.device("cpu")

    def __init__(self, K, Sigma, bound=1e6):
        self.K, self.Sigma, self.factor = np.array(K), np.array(Sigma), np.linalg.cholesky(Sigma)
        self.action_space = spaces.Box(-bound, bound, shape=(len(self.K),))

    def sample(self, states, n, generator):
        return self.moved(states, torch.randn(len(states), n, len(self.K), generator=generator).numpy())

    def moved(self, states, normal):
        log_prob = stats.multivariate_normal(cov=self.Sigma).logpdf(normal @ self.factor.T)
        return (-states @ self.K.T)[:, None] + normal @ self.factor.T, log_prob.reshape(normal.shape[:2])


class OwnNoise(GaussianPolicy):
    """The same distribution from noise of its own, which nothing else can share."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.rng = np.random.default_rng(7)

    def sample(self, states, n, generator):
        return self.moved(states, self.rng.standard_normal((len(states), n, len(self.K))))


def best_diagonal(solution):
    """Covariance of the best diagonal Gaussian: alpha / (2 G_ii)."""
    G = 0.5 * solution.alpha * np.linalg.inv(solution.Sigma)
    return np.diag(0.5 * solution.alpha / np.diag(G))


def states_of(problem, count=60, seed=0):
    return np.random.default_rng(seed).standard_normal((count, problem.n_states))


# Errors of the distribution


@pytest.mark.parametrize("name", PRESETS)
def test_optimum_has_no_error_beyond_sampling(name):
    solution = maxent_envs.preset(name).solve(0.5)
    states, n = states_of(solution.problem), 4000
    errors = distribution_errors(OwnNoise(solution.K, solution.Sigma), solution, states, n_actions=n, seed=0)
    mean_floor = (
        math.sqrt(2.0) * math.sqrt(np.trace(solution.Sigma) / n) / np.linalg.norm(states @ solution.K.T, axis=1).mean()
    )
    assert 0.5 * mean_floor < errors.mean < 1.15 * mean_floor
    assert errors.cov < 2.5 * math.sqrt(2.0 * (solution.problem.n_inputs + 1) / n)
    # The floors are estimates of these very errors
    assert errors.mean_floors.mean() == pytest.approx(errors.mean_distances.mean(), rel=0.3)
    assert errors.cov_floors.mean() == pytest.approx(errors.cov_distances.mean(), rel=0.3)


def test_where_the_optimal_mean_is_zero_the_spread_is_the_scale():
    """Nothing costs but the input: K = 0."""
    problem = LQRProblem(A=[[0.5]], B=[[1.0]], Q=[[0.0]], R=[[2.0]])
    solution = problem.solve(0.4)
    off = GaussianPolicy(solution.K - 0.1, solution.Sigma)
    states = states_of(problem)
    errors = distribution_errors(off, solution, states, n_actions=40, seed=0)
    assert errors.mean == pytest.approx(0.1 * np.abs(states).mean() / np.sqrt(0.4 / 4.0))


def test_the_optimum_on_common_noise_has_no_error_at_all():
    solution = maxent_envs.preset().solve(0.5)
    policy = GaussianPolicy(solution.K, solution.Sigma)
    errors = distribution_errors(policy, solution, states_of(solution.problem), n_actions=40, seed=0)
    assert errors.mean < 1e-12
    assert errors.cov < 1e-12
    assert errors.mean_floors.max() < 1e-12


@pytest.mark.parametrize("name", PRESETS)
def test_biased_gain_gives_the_error_of_the_gain(name):
    solution = maxent_envs.preset(name).solve(0.1)
    policy = GaussianPolicy(0.8 * solution.K, solution.Sigma)
    errors = distribution_errors(policy, solution, states_of(solution.problem), n_actions=4000, seed=0)
    assert errors.mean == pytest.approx(0.2, rel=0.05)


def test_mean_error_is_a_ratio_of_sums():
    problem = maxent_envs.preset()
    solution = problem.solve(1e-10)
    shift = np.array([[0.3, 0.0], [0.0, 0.1]])
    states = states_of(problem)
    errors = distribution_errors(
        GaussianPolicy(solution.K + shift, solution.Sigma), solution, states, n_actions=10, seed=0
    )
    expected = sum(np.linalg.norm(shift @ x) for x in states) / sum(np.linalg.norm(solution.K @ x) for x in states)
    assert errors.mean == pytest.approx(expected, rel=1e-3)


def test_covariance_error_of_a_diagonal_gaussian():
    solution = maxent_envs.preset().solve(0.5)
    diagonal = best_diagonal(solution)
    expected = np.linalg.norm(diagonal - solution.Sigma, ord=2) / np.linalg.norm(solution.Sigma, ord=2)
    policy = GaussianPolicy(solution.K, diagonal)
    errors = distribution_errors(policy, solution, states_of(solution.problem), n_actions=4000, seed=0)
    assert expected > 0.3
    assert errors.cov == pytest.approx(expected, rel=0.03)


def test_clipping_does_not_touch_the_distribution():
    solution = maxent_envs.preset().solve(0.5)
    states = states_of(solution.problem)
    free, boxed = (GaussianPolicy(solution.K, solution.Sigma, bound) for bound in (1e6, 0.01))
    first, second = (distribution_errors(policy, solution, states, n_actions=50, seed=0) for policy in (free, boxed))
    assert (first.mean, first.cov) == (second.mean, second.cov)


def test_examples_are_states_of_growing_optimal_actions():
    solution = maxent_envs.preset("six-state").solve(0.5)
    policy = GaussianPolicy(solution.K, solution.Sigma)
    errors = distribution_errors(policy, solution, states_of(solution.problem), n_actions=30, seed=0)
    norms = np.linalg.norm(errors.example_states @ solution.K.T, axis=1)
    assert errors.example_states.shape == (3, 6)
    assert errors.example_actions.shape == (3, 10_000, 3)
    assert all(small < large for small, large in pairwise(norms))


# Returns


@pytest.mark.parametrize("name", PRESETS)
def test_the_optimum_against_itself_has_no_difference(name):
    solution = maxent_envs.preset(name).solve(0.5)
    policy = GaussianPolicy(solution.K, solution.Sigma)
    returns, _ = paired_returns(policy, solution, n_rollouts=3000, horizon=40, seed=0)
    assert returns["return"] == pytest.approx(returns["optimal_return"], rel=1e-12)
    assert returns["return_se"] < 1e-12
    assert returns["clip_fraction"] == 0.0
    assert returns["optimal_return"] == pytest.approx(solution.expected_return(horizon=40), rel=0.05)


def test_the_best_diagonal_gaussian_has_the_optimums_return():
    problem = maxent_envs.preset()
    solution = problem.solve(0.5)
    diagonal = problem.evaluate(0.5, solution.K, best_diagonal(solution))
    assert diagonal.expected_return() == pytest.approx(solution.expected_return(), rel=1e-12)
    policy = GaussianPolicy(diagonal.K, diagonal.Sigma)
    returns, _ = paired_returns(policy, solution, n_rollouts=4000, horizon=100, seed=0)
    assert returns["return_se"] < 0.005 * abs(returns["optimal_return"])
    assert abs(returns["return"] - returns["optimal_return"]) < 4 * returns["return_se"]


@pytest.mark.parametrize("kind", [GaussianPolicy, OwnNoise])
def test_difference_agrees_with_the_closed_form_within_its_error(kind):
    problem = maxent_envs.preset("unstable")
    solution = problem.solve(0.5)
    worse = problem.evaluate(0.5, 0.9 * solution.K, 1.5 * solution.Sigma)
    returns, _ = paired_returns(kind(worse.K, worse.Sigma), solution, n_rollouts=4000, horizon=50, seed=1)
    expected = worse.expected_return(horizon=50) - solution.expected_return(horizon=50)
    assert abs(returns["return"] - returns["optimal_return"] - expected) < 4 * returns["return_se"]
    assert returns["return_se"] < 0.2 * abs(expected)


def test_soft_gap_of_the_best_diagonal_gaussian_is_the_closed_form():
    problem = maxent_envs.preset()
    solution = problem.solve(0.5)
    diagonal = best_diagonal(solution)
    G = 0.5 * solution.alpha * np.linalg.inv(solution.Sigma)
    horizon = 60
    weight = 0.5 * solution.alpha * (1.0 - problem.gamma**horizon) / (1.0 - problem.gamma)
    expected = weight * math.log(np.prod(np.diag(G)) / np.linalg.det(G))
    returns, _ = paired_returns(
        GaussianPolicy(solution.K, diagonal), solution, n_rollouts=3000, horizon=horizon, seed=0
    )
    standard = problem.evaluate(0.5, solution.K, diagonal).expected_return(horizon) - solution.expected_return(horizon)
    assert abs(returns["soft_gap"] - (expected - standard)) < 4 * returns["soft_gap_se"]
    assert returns["soft_gap_se"] < 0.05 * expected


def test_common_noise_narrows_the_error():
    problem = maxent_envs.preset()
    solution = problem.solve(0.5)
    errors = [
        paired_returns(kind(0.95 * solution.K, solution.Sigma), solution, n_rollouts=500, horizon=50, seed=0)[0][
            "return_se"
        ]
        for kind in (GaussianPolicy, OwnNoise)
    ]
    assert errors[0] < 0.2 * errors[1]


def test_standard_error_is_the_spread_between_seeds():
    solution = maxent_envs.preset("scalar").solve(0.5)
    policy = GaussianPolicy(0.7 * solution.K, solution.Sigma)
    runs = [paired_returns(policy, solution, n_rollouts=200, horizon=20, seed=seed)[0] for seed in range(80)]
    spread = np.std([run["return"] - run["optimal_return"] for run in runs], ddof=1)
    assert spread == pytest.approx(np.mean([run["return_se"] for run in runs]), rel=0.3)


def test_actions_are_clipped_to_the_box_when_applied():
    solution = maxent_envs.preset("scalar").solve(0.5)
    sigma = math.sqrt(solution.Sigma[0, 0])
    policy = GaussianPolicy([[0.0]], solution.Sigma, bound=sigma)
    returns, visited = paired_returns(policy, solution, n_rollouts=3000, horizon=4, seed=0)
    assert returns["clip_fraction"] == pytest.approx(0.3173, abs=0.02)  # beyond one standard deviation
    never = GaussianPolicy([[0.0]], 1e-20 * solution.Sigma, bound=sigma)
    assert paired_returns(never, solution, n_rollouts=10, horizon=4, seed=0)[0]["clip_fraction"] == 0.0
    moved = np.abs(visited[1:] - solution.problem.A[0, 0] * visited[:-1]).max()
    assert moved < abs(solution.problem.B[0, 0]) * sigma + 6 * math.sqrt(solution.problem.noise_cov[0, 0])


def test_a_runaway_state_is_an_overflow_error():
    policy = LearntPolicy(lqr_model(maxent_envs.preset(), 0.5, 0))
    with pytest.raises(OverflowError, match="float32"):
        policy.sample(np.full((1, 2), 1e39), 1, torch.Generator())


# Both


def test_evaluation_looks_at_visited_states_and_repeats_with_its_seed():
    problem = maxent_envs.preset()
    solution = problem.solve(0.5)
    seen = []

    class Watched(GaussianPolicy):
        def sample(self, states, n, generator):
            seen.append(np.array(states))
            return super().sample(states, n, generator)

    settings = EvaluationSettings(n_rollouts=5, horizon=4, n_states=20, n_actions=100, seed=3)
    policy = Watched(0.9 * solution.K, solution.Sigma)
    first = evaluate_policy_on_lqr(policy, solution, settings).metrics()
    rollouts, asked = np.concatenate(seen[:4]), seen[4]
    assert sorted(map(tuple, rollouts)) == sorted(map(tuple, asked))  # all 20, each once
    assert evaluate_policy_on_lqr(policy, solution, settings).metrics() == first
    other = EvaluationSettings(n_rollouts=5, horizon=4, n_states=20, n_actions=100, seed=4)
    assert evaluate_policy_on_lqr(policy, solution, other).metrics() != first


def test_figures_show_the_drawn_and_the_optimal_distribution():
    for name in ("six-state", "scalar"):
        solution = maxent_envs.preset(name).solve(0.5)
        states = states_of(solution.problem, 3)
        actions, _ = GaussianPolicy(solution.K, solution.Sigma).sample(states, 40, torch.Generator())
        figure = action_distribution_figure([(solution, states, actions), (solution, states[:2], actions[:2])])
        assert len(figure.axes) == 6
        assert all(axes.lines for axes in figure.axes[:5])


# A learnt policy


def test_gaussian_sac_as_the_evaluation_sees_it():
    model = tuned_sac_model(maxent_envs.preset(), 0.5, 0)
    states = states_of(maxent_envs.preset(), 5)
    actions, log_prob = LearntPolicy(model).sample(states, 4, torch.Generator().manual_seed(0))
    low, high = model.action_space.low, model.action_space.high
    for column in range(4):
        scaled = torch.as_tensor(2.0 * (actions[:, column] - low) / (high - low) - 1.0, dtype=torch.float32)
        mean, log_std, _ = model.actor.get_action_dist_params(torch.as_tensor(states, dtype=torch.float32))
        reference = model.actor.action_dist.proba_distribution(mean, log_std)
        expected = reference.log_prob(scaled).detach().numpy() - np.log(0.5 * (high - low)).sum()
        assert log_prob[:, column] == pytest.approx(expected, abs=1e-3)
    again = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(0))
    latents = mean.unsqueeze(1) + log_std.exp().unsqueeze(1) * again
    assert actions == pytest.approx((low + (torch.tanh(latents).detach().numpy() + 1.0) * 0.5 * (high - low)), abs=1e-5)


def test_sac_learns_with_the_studys_critic_and_callback():
    model = tuned_sac_model(maxent_envs.preset(), 0.5, 0, batch_size=16)
    callback = LQROptimalityCallback(1000, n_states=4, n_actions=20, n_rollouts=8, horizon=5)
    model.learn(480, callback=callback)
    assert isinstance(model, SAC)
    assert isinstance(model.critic, QuadraticSACCritic)
    assert model.critic.form.abs().max() > 0
    assert callback.history[-1]["timesteps"] == 480


# The study


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Make the study's evaluations small and few."""
    monkeypatch.setattr(study, "RunSpec", tiny_spec)
    monkeypatch.setattr(training, "N_CURVE_POINTS", 2)


@pytest.fixture
def trained(monkeypatch):
    """The FlowSAC models that the study makes, as they come."""
    made = []

    def make(*arguments, **named):
        made.append(lqr_model(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(study, "RunSpec", partial(tiny_spec, make=make))
    return made


def tiny_spec(*arguments, **named):
    return RunSpec(*arguments, evaluation=TINY, curve_evaluation=TINY, **named)


@pytest.fixture(scope="module")
def problem():
    return LQRProblem(A=[[0.9, 0.2], [0.0, 0.8]], B=[[0.0], [0.5]], Q=[[1, 0], [0, 1]], R=[[0.2]], gamma=0.9)


def test_study_writes_what_it_says(tmp_path, capsys, problem):
    out = tmp_path / "new" / "folder"
    rows = run_study(alphas=[0.1, 0.5], seeds=[0], problem=problem, timesteps=96, jobs=1, out=out)
    assert json.loads((out / "results.json").read_text()) == rows
    assert [(row["alpha"], row["seed"]) for row in rows] == [(0.1, 0), (0.5, 0)]
    for row in rows:
        figures = {"mean_error", "cov_error", "return", "optimal_return", "return_se", "clip_fraction", "seconds"}
        assert figures <= row.keys()
        assert all(isinstance(row[key], float) and math.isfinite(row[key]) for key in figures)
        assert row["timesteps"] == 96
        model = FlowSAC.load(out / row["model"])
        assert (model.gamma, model.ent_coef) == (0.9, row["alpha"])
    for picture in ("action_distributions.png", "learning_curves.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert len(list(out.glob("tensorboard/*/events*"))) == 2
    assert not list(out.rglob("*.tmp"))
    printed = capsys.readouterr().out
    for part in ("optimal", "cov. error", "verdict", "results.json", "tensorboard --logdir", "learning_curves.png"):
        assert part in printed, part


def test_study_goes_on_where_an_earlier_start_ended(tmp_path, problem, trained):
    arguments = {"problem": problem, "timesteps": 16, "out": tmp_path}
    first = run_study(alphas=[0.1], seeds=[0], **arguments)
    both = run_study(alphas=[0.1, 0.5], seeds=[0], **arguments)
    assert both[0] == first[0]
    assert [model.ent_coef for model in trained] == [0.1, 0.5]
    (tmp_path / both[0]["model"]).parent.joinpath("result.json").write_text("{")  # a result that was cut off
    run_study(alphas=[0.1], seeds=[0], **arguments)
    with pytest.raises(ValueError, match=r"holds a result of another study .timesteps differ"):
        run_study(alphas=[0.1], seeds=[0], **{**arguments, "timesteps": 24})
    assert [model.ent_coef for model in trained] == [0.1, 0.5, 0.1]


def test_saved_model_predicts_as_the_trained_one(tmp_path, trained):
    spec = study.RunSpec(maxent_envs.preset(), 0.5, 1, 96, tmp_path)
    result = training.execute(spec)
    obs = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    loaded = FlowSAC.load(tmp_path / result["row"]["model"])
    expected, _ = trained[0].predict(obs, deterministic=True)
    assert np.array_equal(loaded.predict(obs, deterministic=True)[0], expected)
    assert [point["timesteps"] for point in result["history"]][-1] == 96


def test_runs_in_processes_give_the_same_results(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "N_CURVE_POINTS", 20)  # as in the other processes
    arguments = {"alphas": [0.1, 0.5], "seeds": [0], "problem": maxent_envs.preset("scalar"), "timesteps": 4}
    here, apart = (run_study(**arguments, jobs=jobs, out=tmp_path / str(jobs)) for jobs in (1, 2))
    assert [row["alpha"] for row in apart] == [0.1, 0.5]
    assert [{**row, "seconds": 0} for row in apart] == [{**row, "seconds": 0} for row in here]


def test_a_run_that_fails_does_not_cost_the_others(tmp_path, problem, monkeypatch):
    def make(problem, alpha, seed, **kwargs):
        if alpha == 0.1:
            raise FloatingPointError("critic_loss is nan")
        return lqr_model(problem, alpha, seed, **kwargs)

    monkeypatch.setattr(study, "RunSpec", partial(tiny_spec, make=make))
    with pytest.raises(FloatingPointError, match="critic_loss"):
        run_study(alphas=[0.1, 0.5], seeds=[0], problem=problem, timesteps=16, out=tmp_path)
    assert [path.parent.name for path in tmp_path.rglob("result.json")] == ["flowsac-alpha-0.5-seed-0"]


@pytest.mark.parametrize("alphas", [[0.1, 0.5], [0.1]])
def test_a_run_that_diverges_has_its_verdict(tmp_path, problem, monkeypatch, capsys, alphas):
    """Its line beside the others', or alone."""

    def make(problem, alpha, seed, **kwargs):
        if alpha == 0.1:
            raise DivergenceError("the critics diverge")
        return lqr_model(problem, alpha, seed, **kwargs)

    monkeypatch.setattr(study, "RunSpec", partial(tiny_spec, make=make))
    rows = run_study(alphas=alphas, seeds=[0], problem=problem, timesteps=16, out=tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == rows
    assert [row["alpha"] for row in rows] == alphas
    assert (rows[0]["verdict"], rows[0]["failure"]) == ("failed", "the critics diverge")
    printed = capsys.readouterr().out
    assert "alpha 0.1, seed 0: failed: the critics diverge" in printed
    assert ("flowsac show" in printed) == (len(alphas) > 1)


def test_plots_of_several_seeds(tmp_path):
    problem = maxent_envs.preset("scalar")
    results = [training.execute(tiny_spec(problem, 0.5, seed, 16, tmp_path)) for seed in (0, 1)]
    assert all(path.stat().st_size > 0 for path in save_plots(problem, results, tmp_path))


def test_a_slow_system_is_learnt():
    """Of two states with time constants of 1,000 and 50 steps: with one backup an update the error is above 70%."""
    problem = maxent_envs.load_problem(PAGE.parent.parent / "examples" / "kiln.yml")
    model = lqr_model(problem, 0.1, 0)
    model.learn(10_000)
    settings = EvaluationSettings(n_rollouts=20, horizon=100, n_states=100, n_actions=1000)
    figures = evaluate_policy_on_lqr(LearntPolicy(model), problem.solve(0.1), settings).metrics()
    assert figures["mean_error"] < 0.1


def test_warm_up_keeps_an_unstable_system_where_its_actions_can_bring_it_home():
    problem = preset("unstable")
    model = lqr_model(problem, 0.5, 0)
    # The first state grows by a factor A[0, 0]; beyond this size no action in the Box outweighs the growth
    reach = (np.abs(problem.B[0]) @ model.action_space.high) / (problem.A[0, 0] - 1.0)
    model.learn(model.learning_starts)
    visited = model.replay_buffer.observations[: model.replay_buffer.pos]
    actions = model.replay_buffer.actions[: model.replay_buffer.pos]
    assert np.abs(visited).max() < 0.1 * reach
    assert np.abs(actions).max() < 0.05  # of the Box, where uniform actions would reach 1
    # The environment's own time limit would not do: the standard deviation of the states after 100 uniform actions
    moment, bound = problem.initial_cov, model.action_space.high
    for _ in range(100):
        moment = problem.A @ moment @ problem.A.T + problem.B @ np.diag(bound**2 / 3) @ problem.B.T + problem.noise_cov
    assert np.sqrt(np.diag(moment).max()) > 100 * reach


def test_episodes_are_shorter_the_faster_a_system_grows():
    radii = (0.5, 1.0, 1.1, 1.3, 3.0, 100.0)
    problems = [LQRProblem(A=[[radius]], B=[[1.0]], Q=[[1.0]], R=[[1.0]]) for radius in radii]
    steps = [episode_steps(problem, 0.5) for problem in problems]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] == 100 > steps[2] > steps[3] > steps[4] > steps[5] == 1


def test_episodes_of_integrators_in_a_row_are_shorter_than_of_one():
    single, chain = LQRProblem(A=[[1.0]], B=[[1.0]], Q=[[1.0]], R=[[1.0]]), preset("quadrotor")
    assert episode_steps(chain, 0.5) < episode_steps(single, 0.5)


def test_models_settings_are_the_problems_and_the_runs():
    problem = maxent_envs.random_problem(n_states=3, n_inputs=2, seed=0)
    model = lqr_model(problem, 0.2, 5, batch_size=32)
    assert (model.gamma, model.ent_coef, model.seed, model.batch_size) == (problem.gamma, 0.2, 5, 32)
    assert model.n_envs == N_ENVS
    bound = maxent_envs.derived_action_bound(problem, 0.2)
    assert model.action_space.high == pytest.approx(1024.0 * bound, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alphas": []}, "alphas must hold 1 or more"),
        ({"alphas": [0.1, -1.0]}, "alphas must be positive"),
        ({"seeds": []}, "seeds must hold 1 or more"),
        ({"seeds": [-1]}, "seeds must be an integer"),
        ({"timesteps": 0}, "timesteps must be an integer"),
        ({"jobs": 0}, "jobs must be an integer"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(tmp_path, changes, message):
    arguments = {"alphas": [0.1], "seeds": [0], "out": tmp_path / "out"}
    with pytest.raises(ValueError, match=re.escape(message)):
        run_study(**{**arguments, **changes})
    assert not (tmp_path / "out").exists()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_pages_problem_file_is_valid(tmp_path):
    (tmp_path / "my_lqr.yml").write_text(blocks("yaml")[0])
    assert maxent_envs.load_problem(tmp_path / "my_lqr.yml").n_inputs == 1


def test_the_pages_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_study(alphas=[0.1], seeds=[0], timesteps=8, out=Path("flowsac_lqr"))
    load, train = blocks("python")
    exec(load, {})
    for long, short in {
        "40_000": "320",
        "eval_freq=1_000": "eval_freq=10, n_actions=50, n_rollouts=10",
        "n_rollouts=2000": "n_rollouts=10",
    }.items():
        assert long in train
        train = train.replace(long, short)
    exec(train, {})
    assert "mean_error" in capsys.readouterr().out
