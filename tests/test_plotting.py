"""Pictures of policies and runs: what is drawn is what it says, and nothing else moves."""

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats
from scipy.integrate import trapezoid
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecNormalize

from maxent_envs import preset
from maxent_envs.targets import RotatingMixture, TwoHumps
from sb3_flowsac import MultiInputPolicy
from sb3_flowsac.plotting import (
    action_density,
    action_distribution_figure,
    density_against_target,
    flow_paths,
    learning_curves,
    policy_figures,
    read_curve,
    save_figure,
    weights_histogram,
)
from sb3_flowsac.plotting.paths import trace_paths

OBS = np.array([[0.3, -0.2, 1.0], [-1.0, 0.5, 0.1]], np.float32)


def with_data(figure):
    return [axes for axes in figure.axes if axes.has_data()]


def image(axes):
    (drawn,) = axes.images
    left, right, bottom, top = drawn.get_extent()
    return np.asarray(drawn.get_array()), (right - left) * (top - bottom)


@pytest.mark.parametrize("squash_output", [True, False])
def test_densities_have_mass_one(make_policy, squash_output):
    kwargs = {"double": False, "squash_output": squash_output, "log_std_init": -1.0}
    one = action_density(make_policy(low=(-2.0,), high=(3.0,), **kwargs), OBS)
    assert len(with_data(one)) == 2
    for axes in with_data(one):
        x, density = axes.lines[0].get_xydata().T
        assert trapezoid(density, x) == pytest.approx(1.0, abs=0.01)
    two = action_density(make_policy(low=(-2.0, 0.0), high=(3.0, 0.5), **kwargs), OBS)
    for axes in with_data(two):
        density, area = image(axes)
        assert density.mean() * area == pytest.approx(1.0, abs=0.01)


def test_the_axes_of_a_squashed_policy_stay_in_the_box(make_policy):
    wide = make_policy(low=(-2.0,), high=(3.0,), log_std_init=1.0, double=False)
    x = with_data(action_density(wide, OBS[0]))[0].lines[0].get_xdata()
    assert -2.0 <= x.min() < -1.9 and 2.9 < x.max() <= 3.0


def test_more_components_are_a_corner_plot_of_six_at_most(make_policy):
    for dim in (3, 8):
        figure = action_density(make_policy(low=(-1.0,) * dim, high=(1.0,) * dim, double=False), OBS[0], n_samples=50)
        shown = min(dim, 6)
        assert len(with_data(figure)) == shown * (shown + 1) // 2
        pairs = [axes.collections[0].get_array().sum() for axes in with_data(figure) if not axes.patches]
        assert pairs == [50] * (shown * (shown - 1) // 2)


@pytest.mark.parametrize("base", ["gaussian", "standard"])
def test_paths_lead_from_the_base_to_the_samples(make_policy, base):
    policy = make_policy(low=(-2.0, 0.0), high=(3.0, 0.5), base=base, squash_output=False, ode_steps=3)
    times, paths = trace_paths(policy, OBS, 200, seed=4)
    with torch.no_grad():
        samples, _ = policy.sample(OBS, 200, torch.Generator().manual_seed(4))
        gaussian = policy.actor.distribution(policy.obs_to_tensor(OBS)[0]).base
    np.testing.assert_allclose(times, [0.0, 1 / 3, 2 / 3, 1.0])
    np.testing.assert_allclose(paths[:, :, -1], samples, rtol=1e-12)
    scaled = torch.as_tensor(paths[:, :, 0]).sub(policy.box.low).div(policy.box.scale).sub(1.0)
    noise = torch.randn(2, 200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    np.testing.assert_allclose(gaussian.whiten(scaled).detach(), noise, atol=1e-10)


@pytest.mark.parametrize(("dim", "panels"), [(1, 2), (2, 2), (7, 12)])
def test_panels_of_paths(make_policy, dim, panels):
    figure = flow_paths(make_policy(low=(-1.0,) * dim, high=(1.0,) * dim), OBS, n_paths=5)
    assert len(figure.axes) == panels
    assert all(len(axes.lines) == 5 for axes in figure.axes)


def test_the_target_beside_the_policy(make_model):
    target = RotatingMixture()
    policy = make_model(gym.make("BoltzmannBandit-v0", target=target)).policy
    states = target.sample_states(2, np.random.default_rng(0)).astype(np.float32)
    figure = density_against_target(policy, states, target.log_density)
    known, learnt = (image(axes) for axes in figure.axes[2:])  # in the second state
    for density, area in (known, learnt):
        assert density.mean() * area == pytest.approx(1.0, abs=0.02)
    # Rows are the second component, columns the first; the Box is [-1, 1]^2 in 80 x 80 cells
    point = np.array([-1.0 + 2.0 * 60.5 / 80, -1.0 + 2.0 * 11.5 / 80])
    assert known[0][11, 60] == pytest.approx(np.exp(target.log_density(states[1:], point[None, None])[0, 0]))
    with torch.no_grad():
        assert learnt[0][11, 60] == pytest.approx(policy.log_prob(states[1:], point[None]).exp().item(), rel=1e-5)


def test_targets_of_one_component_are_curves_and_of_three_are_refused(make_model):
    target = TwoHumps()
    policy = make_model(gym.make("BoltzmannBandit-v0", target=target)).policy
    (axes,) = density_against_target(policy, np.zeros((1, 1), np.float32), target.log_density).axes
    for line in axes.lines:
        x, density = line.get_xydata().T
        assert trapezoid(density, x) == pytest.approx(1.0, abs=0.01)
    three = make_model(gym.make("BoltzmannBandit-v0", target=TwoHumps(dim=3))).policy
    with pytest.raises(ValueError, match="1 or 2 components, got 3"):
        density_against_target(three, np.zeros((1, 1), np.float32), target.log_density)


def test_weights(make_model):
    model = make_model("Pendulum-v1", ent_coef=0.2)
    model.policy.set_training_mode(True)
    obs = np.stack([model.observation_space.sample() for _ in range(20)])
    left, right = weights_histogram(model, obs).axes
    assert sum(bar.get_height() for bar in left.patches) == 20 * 8
    assert sum(bar.get_height() for bar in right.patches) == 20
    assert model.policy.training
    # As at alpha 1e9, where every weight of the policy's own proposals is that of a flat target: of uniform ones all
    # are alike
    flat = make_model("Pendulum-v1", ent_coef=1e9, sampling_distribution="uniform")
    assert weights_histogram(flat, obs).axes[1].get_title() == "mean 100%"


def test_ellipses_lie_at_two_sigma():
    solution = preset().solve(0.5)
    state, actions = np.array([1.0, -1.0]), np.random.default_rng(0).normal(size=(50, 2))
    (axes,) = action_distribution_figure([(solution, state[None], actions[None])]).axes
    learnt, optimal = (line.get_xydata() for line in axes.lines)
    for points, mean, cov in (
        (learnt, actions.mean(0), np.cov(actions.T)),
        (optimal, solution.mean(state), solution.Sigma),
    ):
        centred = points - mean
        assert np.einsum("pi,ij,pj->p", centred, np.linalg.inv(cov), centred) == pytest.approx(4.0)


@pytest.mark.parametrize("sampling_distribution", ["policy", "defensive", "newton"])
def test_weights_of_every_kind_of_sampling(make_model, sampling_distribution):
    model = make_model("Pendulum-v1", sampling_distribution=sampling_distribution)
    weights_histogram(model, np.zeros((3, 3), np.float32))


def test_curves_of_evaluations_and_monitors(tmp_path):
    steps, results = np.array([10, 20, 30]), np.arange(12.0).reshape(3, 4)
    np.savez(tmp_path / "evaluations.npz", timesteps=steps, results=results)
    for path in (tmp_path, tmp_path / "evaluations.npz", str(tmp_path)):
        found = read_curve(path)
        np.testing.assert_array_equal(found[0], steps)
        np.testing.assert_array_equal(found[1], [1.5, 5.5, 9.5])
    env = Monitor(gym.make("BoltzmannBandit-v0"), str(tmp_path / "run" / "monitor.csv"))
    returns = []
    for _ in range(7):
        env.reset(seed=len(returns))
        returns.append(round(float(env.step(env.action_space.sample())[1]), 6))
    env.close()
    found = read_curve(tmp_path / "run", window=3)
    np.testing.assert_array_equal(found[0], [3, 4, 5, 6, 7])
    np.testing.assert_allclose(found[1], np.convolve(returns, np.ones(3) / 3, "valid"), atol=1e-6)
    assert len(read_curve(tmp_path / "run")[0]) == 1
    with pytest.raises(ValueError, match=r"empty is neither evaluations\.npz nor a folder"):
        read_curve(tmp_path / "empty")


def test_bands_are_confidence_intervals():
    runs = [(np.array([0.0, 100.0]), np.array([a, a + 10.0])) for a in (0.0, 1.0, 5.0)]
    runs[2] = (np.array([20.0, 120.0]), np.array([7.0, 17.0]))  # the same line, from later on
    (axes,) = learning_curves({"three": runs, "one": runs[:1]}).axes
    mean, single = axes.lines
    assert mean.get_xdata()[[0, -1]].tolist() == [20.0, 100.0] and single.get_xdata()[[0, -1]].tolist() == [0.0, 100.0]
    (band,) = axes.collections
    expected = stats.t.interval(0.95, 2, loc=4.0, scale=stats.sem([2.0, 3.0, 7.0]))
    np.testing.assert_allclose(mean.get_ydata()[0], 4.0)
    at_start = [y for x, y in band.get_paths()[0].vertices if x == 20.0]
    np.testing.assert_allclose([min(at_start), max(at_start)], expected)
    with pytest.raises(ValueError, match=r"runs\['none'\] is empty"):
        learning_curves({"none": []})
    with pytest.raises(ValueError, match="one run ends at step 10, before another starts at 20"):
        learning_curves({"apart": [(np.array([0.0, 10.0]), np.zeros(2)), runs[2]]})


def test_a_curve_of_one_point_is_visible():
    (axes,) = learning_curves({"one": [(np.array([50.0]), np.array([-3.0]))]}).axes
    assert axes.lines[0].get_marker() == "o"


def test_states_are_named_and_valued(make_policy):
    figures = action_density(make_policy(), OBS[0]), flow_paths(make_policy(), OBS), action_density(make_policy(), OBS)
    titles = ["state 1: (0.30, -0.20, 1.00)", "state 2: (-1.00, 0.50, 0.10)"]
    assert [[axes.get_title() for axes in figure.axes] for figure in figures] == [titles[:1], titles, titles]


@pytest.mark.parametrize(("dim", "n_states"), [(1, 8), (2, 8), (7, 2)])
def test_no_picture_is_wider_than_2000_pixels(make_policy, tmp_path, dim, n_states):
    policy, obs = make_policy(low=(-1.0,) * dim, high=(1.0,) * dim), np.resize(OBS, (n_states, 3))
    for number, figure in enumerate((action_density(policy, obs, n_samples=20), flow_paths(policy, obs, n_paths=3))):
        save_figure(figure, tmp_path / f"{number}.png")
        assert plt.imread(tmp_path / f"{number}.png").shape[1] <= 2000


def test_overview_of_models_and_policies(make_model, tmp_path):
    bandit = make_model("BoltzmannBandit-v0")
    target = bandit.env.get_attr("target")[0]
    states = target.sample_states(5, np.random.default_rng(0)).astype(np.float32)
    assert list(policy_figures(bandit, states, target)) == ["action_density", "flow_paths", "weights", "against_target"]
    assert list(policy_figures(bandit.policy, states, target)) == ["action_density", "flow_paths", "against_target"]
    lqr = make_model("MaxEntLQR-v0", gamma=0.95, ent_coef=0.5)
    figures = policy_figures(lqr, np.ones((5, 2), np.float32), lqr.env.get_attr("problem")[0], n_states=2)
    assert list(figures) == ["action_density", "flow_paths", "weights", "against_optimum"]
    assert all(len(with_data(figures[name])) == 2 for name in figures)
    save_figure(figures["flow_paths"], tmp_path / "new" / "paths.png")
    assert (tmp_path / "new" / "paths.png").read_bytes().startswith(b"\x89PNG")


def test_observations_are_normalised_once(make_model):
    env = VecNormalize(make_vec_env("Pendulum-v1", seed=0))
    env.obs_rms.mean[:] = 2.0
    model, obs = make_model(env), np.array([[0.5, 0.5, 3.0]], np.float32)
    drawn = policy_figures(model, obs)["action_density"]
    expected = action_density(model.policy, env.normalize_obs(obs))
    for ours, theirs in zip(with_data(drawn), with_data(expected), strict=True):
        np.testing.assert_array_equal(ours.lines[0].get_xydata(), theirs.lines[0].get_xydata())


def test_dictionaries_are_drawn(perturb):
    space = spaces.Dict(vector=spaces.Box(-1.0, 1.0, (3,)), number=spaces.Discrete(4))
    policy = perturb(MultiInputPolicy(space, spaces.Box(-1.0, 1.0, (2,)), lambda _: 1e-3, net_arch=[8]))
    obs = {"vector": np.zeros((5, 3), np.float32), "number": np.arange(5) % 4}
    figures = policy_figures(policy, obs, n_states=3)
    assert {name: len(with_data(figure)) for name, figure in figures.items()} == {"action_density": 3, "flow_paths": 3}


def test_drawing_moves_no_generator_and_opens_no_window(make_model):
    model = make_model("Pendulum-v1", ent_coef=0.2)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    windows = plt.get_fignums()  # other tests may have left some
    policy_figures(model, np.zeros((2, 3), np.float32))
    assert torch.equal(torch.get_rng_state(), torch_state) and np.array_equal(np.random.get_state()[1], numpy_state)
    assert plt.get_fignums() == windows


@pytest.mark.parametrize(
    "call", [lambda p: action_density(p, OBS, n_samples=1), lambda p: flow_paths(p, OBS, n_paths=0)]
)
def test_numbers_out_of_range_are_named(make_policy, call):
    with pytest.raises(ValueError, match=r"n_(samples|paths) must be .*got [01]"):
        call(make_policy())
