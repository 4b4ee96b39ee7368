"""The contract of ``sample``, ``log_prob``, ``entropy`` and ``predict``: what they take, return and leave alone."""

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from sb3_flowsac import CnnPolicy, FlowPolicy, FlowSAC, MlpPolicy, MultiInputPolicy, load_policy, save_policy
from sb3_flowsac.algorithm import density as density_module
from sb3_flowsac.algorithm.actor import FlowActor
from sb3_flowsac.algorithm.running_norm import RunningNorm
from sb3_flowsac.flow import FlowDistribution, StructuredField

BATCH = np.array([[0.3, -0.5, 0.2], [-0.4, 0.1, 0.6]], np.float32)
BOX = {"low": (-0.5, 1.0), "high": (3.0, 1.4)}
SQUASHED = pytest.mark.parametrize("squashed", [True, False], ids=["squashed", "unsquashed"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def dict_policy():
    torch.manual_seed(0)
    space = spaces.Dict({"position": spaces.Box(-1, 1, (2,)), "gripper": spaces.Box(-1, 1, (1,))})
    return MultiInputPolicy(space, spaces.Box(-1, 1, (2,)), lambda _: 1e-3, net_arch=[16])


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor, np.float64], ids=["numpy", "tensor", "double"])
@pytest.mark.parametrize("single", [True, False], ids=["single", "batched"])
def test_observations_as_predict_takes_them(make_policy, convert, single):
    policy, n_states = make_policy(**BOX), 1 if single else 2
    reference = policy.sample(BATCH, 5, generator())
    obs = convert(BATCH[0] if single else BATCH)
    if single:
        reference = policy.sample(BATCH[:1], 5, generator())
    actions, log_prob = policy.sample(obs, 5, generator())
    entropy = policy.entropy(obs, 5, generator())
    assert actions.shape == (n_states, 5, 2) and log_prob.shape == (n_states, 5) and entropy.shape == (n_states,)
    torch.testing.assert_close(actions, reference[0])
    torch.testing.assert_close(log_prob, reference[1])
    torch.testing.assert_close(policy.log_prob(obs, actions), policy.log_prob(BATCH[:n_states], actions))
    torch.testing.assert_close(entropy, -log_prob.mean(-1))


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "tensor"])
def test_observations_that_are_dictionaries(convert, perturb):
    policy = dict_policy()
    perturb(policy.actor)
    single = {"position": convert(np.array([0.1, 0.2], np.float32)), "gripper": convert(np.array([0.5], np.float32))}
    batch = {key: convert(np.stack([value, 2 * np.asarray(value)])) for key, value in single.items()}
    for obs, n_states in ((single, 1), (batch, 2)):
        actions, log_prob = policy.sample(obs, 3, generator())
        assert actions.shape == (n_states, 3, 2) and log_prob.shape == (n_states, 3)
        torch.testing.assert_close(policy.log_prob(obs, actions), log_prob, rtol=0, atol=1e-3)
        assert policy.entropy(obs, 3).shape == (n_states,)
    together, alone = (policy.log_prob(obs, torch.zeros(n, 2)) for obs, n in ((batch, 2), (single, 1)))
    torch.testing.assert_close(together[:1], alone)


def test_actions_numpy_or_tensor_one_or_many(make_policy):
    policy, actions = make_policy(**BOX), np.array([[1.0, 1.2], [0.2, 1.3]])
    one = policy.log_prob(BATCH, actions)
    assert one.shape == (2,) and isinstance(one, torch.Tensor)
    torch.testing.assert_close(policy.log_prob(BATCH, torch.as_tensor(actions)), one)
    many = policy.log_prob(BATCH, np.stack([actions, actions + 0.01, actions - 0.01], axis=1))
    assert many.shape == (2, 3)
    torch.testing.assert_close(many[:, 0], one)
    torch.testing.assert_close(many[:, 1], policy.log_prob(BATCH, actions + 0.01))


def test_action_dim_is_that_of_the_flattened_box():
    torch.manual_seed(0)
    policy = FlowPolicy(spaces.Box(-1, 1, (3,)), spaces.Box(-2, 2, (2, 2)), lambda _: 1e-3, net_arch=[16])
    actions, log_prob = policy.sample(BATCH, 5)
    assert actions.shape == (2, 5, 4)
    torch.testing.assert_close(policy.log_prob(BATCH, actions), log_prob, rtol=0, atol=1e-3)
    assert policy.predict(BATCH)[0].shape == (2, 2, 2) and policy.predict(BATCH[0])[0].shape == (2, 2)


@pytest.mark.parametrize("method", ["sample", "entropy"])
def test_a_generator_leaves_the_global_random_state_untouched(make_policy, method):
    policy, before = make_policy(), torch.get_rng_state()
    first, second, other = (getattr(policy, method)(BATCH, 6, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    first, second, other = (value[0] if method == "sample" else value for value in (first, second, other))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_log_prob_draws_no_random_numbers(make_policy):
    for kwargs in ({}, {"field": "mlp"}, {"density": "trace"}):
        policy, before = make_policy(**kwargs), torch.get_rng_state()
        policy.log_prob(BATCH, np.zeros((2, 1)))
        # Making the policy draws its parameters; evaluating it must draw nothing
        assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_the_global_one_decides(make_policy):
    policy = make_policy()
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(policy.sample(BATCH, 4)[0])
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(
    ("base", "field", "density"),
    [
        ("gaussian", "structured", "exact"),
        ("gaussian", "structured", "trace"),
        ("gaussian", "mlp", "exact"),
        ("standard", "structured", "exact"),
        ("standard", "mlp", "trace"),
    ],
)
@SQUASHED
@pytest.mark.parametrize("what", ["rsample", "log_prob"])
def test_gradients_are_those_of_finite_differences(make_policy, what, squashed, base, field, density):
    """Along a random direction of all the actor's parameters."""
    policy = make_policy(**BOX, squash_output=squashed, density=density, base=base, field=field, ode_steps=2)
    parameters = list(policy.actor.parameters())
    actions = policy.sample(BATCH, 4, generator())[0].detach()

    def value():
        if what == "rsample":
            sampled, log_prob = policy.rsample(BATCH, 4, generator(1))
            return sampled.square().sum() + 0.3 * log_prob.sum()
        return policy.log_prob(BATCH, actions).sum()

    gradients = torch.autograd.grad(value(), parameters)
    directions = [torch.randn(p.shape, dtype=p.dtype, generator=generator(i)) for i, p in enumerate(parameters)]
    values, step = [], 1e-6
    for move in (step, -2 * step, step):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(move * direction)
            values.append(value().item())
    analytic = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True)).item()
    assert analytic == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-5)


def test_gradients_flow_to_given_actions(make_policy):
    policy, actions = (
        make_policy(**BOX),
        torch.tensor([[1.0, 1.2], [0.2, 1.3]], dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(lambda a: policy.log_prob(BATCH, a), (actions,), eps=1e-6, atol=1e-5)


def test_samples_have_no_gradients_and_densities_have(make_policy):
    """As in ``torch.distributions``: a sample is a number, ``rsample`` is for those who differentiate."""
    policy, actions = make_policy(), np.zeros((2, 1))
    assert not any(result.requires_grad for result in (*policy.sample(BATCH, 2), policy.entropy(BATCH, 2)))
    plt.hist(policy.sample(BATCH, 2)[0][0, :, 0])
    plt.close("all")
    assert all(result.requires_grad for result in (*policy.rsample(BATCH, 2), policy.log_prob(BATCH, actions)))
    with_gradients, without = (f(BATCH, 2, generator(3))[0] for f in (policy.rsample, policy.sample))
    torch.testing.assert_close(with_gradients, without, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert not policy.log_prob(BATCH, actions).requires_grad


def test_many_actions_are_worked_on_in_bounded_memory(make_policy, monkeypatch):
    policy = make_policy(**BOX)
    whole = policy.sample(BATCH, 25, generator())
    density = policy.log_prob(BATCH, whole[0])
    sizes = []
    for name in ("log_prob", "push_with_log_prob"):
        method = getattr(FlowDistribution, name)

        def spy(self, what, *args, method=method, **kwargs):
            sizes.append(self.batch_size * what.shape[1])
            return method(self, what, *args, **kwargs)

        monkeypatch.setattr(FlowDistribution, name, spy)
    monkeypatch.setattr(density_module, "LARGEST_PART", 8)
    torch.testing.assert_close(policy.log_prob(BATCH, whole[0]), density)
    assert sizes == [8] * 6 + [2]
    chunked = policy.sample(BATCH, 25, generator())
    assert sizes == [*[8] * 6, 2] * 2 and chunked[0].shape == (2, 25, 2)
    torch.testing.assert_close(policy.log_prob(BATCH, chunked[0]), chunked[1], rtol=0, atol=1e-4)
    assert len(torch.unique(chunked[0])) == 100  # no chunk repeats another's noise


@pytest.mark.parametrize(
    "shape", [(2,), (3, 2), (1, 2), (2, 1), (2, 3), (2, 5, 3), (3, 5, 2), (2, 1, 5, 2), ()], ids=str
)
def test_actions_of_a_wrong_shape_are_named(make_policy, shape):
    policy = make_policy(**BOX)
    with pytest.raises(ValueError, match=r"actions has shape .*\(2, 2\)"):
        policy.log_prob(BATCH, np.zeros(shape))


@pytest.mark.parametrize(
    "obs", [np.zeros(4), np.zeros((2, 2)), np.zeros((2, 2, 3)), torch.zeros(4)], ids=lambda o: str(o.shape)
)
@pytest.mark.parametrize("method", ["sample", "entropy", "log_prob"])
def test_observations_of_a_wrong_shape_are_refused(make_policy, method, obs):
    policy = make_policy()
    with pytest.raises(ValueError, match="shape"):
        policy.log_prob(obs, np.zeros((2, 1))) if method == "log_prob" else getattr(policy, method)(obs, 2)


@pytest.mark.parametrize("n", [0, -1, 2.0, True, None, "3"])
@pytest.mark.parametrize("method", ["sample", "entropy"])
def test_a_wrong_number_of_samples_is_named(make_policy, method, n):
    with pytest.raises(ValueError, match=r"^n must be an integer .*at least 1"):
        getattr(make_policy(), method)(BATCH, n)


@SQUASHED
def test_predict_is_in_the_box_and_of_the_policy(make_policy, squashed):
    policy = make_policy(**BOX, squash_output=squashed, double=False, log_std_init=1.0)
    obs = np.repeat(BATCH[:1], 4000, axis=0)
    predicted = policy.predict(obs)[0]
    sampled = policy.sample(BATCH[:1], 4000)[0][0].clamp(policy.box.low, policy.box.high).numpy(force=True)
    assert policy.action_space.contains(predicted[0])
    assert (predicted >= policy.action_space.low).all() and (predicted <= policy.action_space.high).all()
    error = np.abs(predicted.mean(0) - sampled.mean(0))
    assert (error < 4.5 * np.sqrt((predicted.var(0) + sampled.var(0)) / 4000)).all()
    if not squashed:
        on_the_bound = (sampled == policy.action_space.low) | (sampled == policy.action_space.high)
        assert on_the_bound.mean() > 0.1  # so wide a policy is clipped on acting


@SQUASHED
def test_deterministic_predictions_are_the_image_of_the_bases_centre(make_policy, squashed):
    policy = make_policy(**BOX, squash_output=squashed, scale=0.0)
    with torch.no_grad():
        policy.actor.flow.base.head.weight.zero_()
        policy.actor.flow.base.head.bias[:2] = torch.tensor([0.5, -0.3])
    centre = np.tanh([0.5, -0.3]) if squashed else np.array([0.5, -0.3])
    expected = np.array([1.25, 1.2]) + np.array([1.75, 0.2]) * centre
    np.testing.assert_allclose(policy.predict(BATCH[0], deterministic=True)[0], expected, rtol=1e-5)


@SQUASHED
def test_deterministic_predictions_repeat_and_draw_no_random_numbers(make_policy, squashed):
    """So that an evaluation in between leaves training as it was, as with SAC."""
    policy = make_policy(**BOX, squash_output=squashed)
    first, before = policy.predict(BATCH, deterministic=True)[0], torch.get_rng_state()
    second = policy.predict(BATCH, deterministic=True)[0]
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(policy.predict(BATCH)[0], second)
    torch.set_rng_state(before)
    policy.predict(BATCH, deterministic=True)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"squash_output": False, "n_critics": 1, "critic": "quadratic", "log_std_init": -1.0},
        {"field_kwargs": {"units": 5, "n_basis": 4}, "ode_steps": 1},
        {
            "base": "standard",
            "field": "mlp",
            "ode_steps": 2,
            "ode_solver": "rk4",
            "ode_grid_power": 2.0,
            "density": "trace",
        },
        {"net_arch": {"pi": [8], "qf": [12, 4]}, "activation_fn": nn.Tanh, "share_features_extractor": True},
        {"optimizer_class": torch.optim.RMSprop, "optimizer_kwargs": {"alpha": 0.9}, "net_arch": []},
    ],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_a_policy_is_saved_and_loaded_alone(make_policy, kwargs, tmp_path):
    policy = make_policy(**BOX, double=False, **kwargs)
    policy.save(tmp_path / "policy.zip")
    loaded = FlowPolicy.load(tmp_path / "policy.zip")
    expected, actual = (p.sample(BATCH, 4, generator()) for p in (policy, loaded))
    assert torch.equal(expected[0], actual[0]) and torch.equal(expected[1], actual[1])
    observations, actions = torch.as_tensor(BATCH), torch.zeros(2, 2)
    assert torch.equal(policy.critic(observations, actions), loaded.critic(observations, actions))
    if policy.critic.uses_target:
        assert torch.equal(policy.critic_target(observations, actions), loaded.critic_target(observations, actions))
    else:
        assert policy.critic_target is loaded.critic_target is None
    assert loaded.optimizer_class is policy.optimizer_class
    assert all(loaded._get_constructor_parameters()[name] == value for name, value in kwargs.items())
    policy.actor.save(tmp_path / "actor.zip")
    actor = FlowActor.load(tmp_path / "actor.zip")
    np.testing.assert_array_equal(*[p.predict(BATCH, deterministic=True)[0] for p in (policy.actor, actor)])
    noise = policy.actor.distribution(observations).noise(3, generator())
    assert torch.equal(*[p.distribution(observations).push(noise) for p in (policy.actor, actor)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base", "cauchy"),
        ("field", "unet"),
        ("ode_steps", 0),
        ("ode_steps", 2.5),
        ("ode_solver", "dopri5"),
        ("ode_grid_power", 0.0),
        ("density", "hutchinson"),
        ("log_std_init", 10.0),
        ("critic", "cubic"),
        ("n_critics", 0),
        ("n_critics", 1.5),
        ("n_critics", True),
        ("n_action_candidates", 0),
        ("n_acting_candidates", 1.5),
    ],
)
def test_wrong_arguments_are_named(make_policy, name, value):
    with pytest.raises(ValueError, match=f"^{name}.*{value}"):
        make_policy(**{name: value})


def test_the_number_of_units_is_saved_whatever_the_default_will_be(make_policy, tmp_path, monkeypatch):
    policy = make_policy(**BOX, double=False)
    assert policy.actor.flow.field.units == 48
    save_policy(policy, tmp_path / "safe")
    policy.save(tmp_path / "policy.zip")
    monkeypatch.setattr(StructuredField, "default_kwargs", classmethod(lambda cls, dim: {"units": 3}))
    for loaded in (FlowPolicy.load(tmp_path / "policy.zip"), load_policy(tmp_path / "safe")):
        assert loaded.actor.flow.field.units == 48


def test_field_kwargs_that_do_not_fit_the_field_are_named(make_policy):
    with pytest.raises(TypeError, match=r"field_kwargs.*units.*MLPField"):
        make_policy(field="mlp", field_kwargs={"units": 8})
    with pytest.raises(ValueError, match=r"units.*got 0"):
        make_policy(field_kwargs={"units": 0})


@pytest.mark.parametrize(
    ("policy_class", "space", "better"),
    [
        (FlowPolicy, spaces.Dict({"a": spaces.Box(-1, 1, (2,))}), "MultiInputPolicy"),
        (CnnPolicy, spaces.Box(-1, 1, (3,)), "FlowPolicy"),
        (CnnPolicy, spaces.Dict({"a": spaces.Box(-1, 1, (2,))}), "MultiInputPolicy"),
        (MultiInputPolicy, spaces.Box(-1, 1, (3,)), "FlowPolicy"),
    ],
)
def test_a_policy_that_does_not_fit_the_observations_names_the_one_that_does(policy_class, space, better):
    with pytest.raises(ValueError, match=better):
        policy_class(space, spaces.Box(-1, 1, (1,)), lambda _: 1e-3)


def test_names_of_the_same_policy():
    assert MlpPolicy is FlowPolicy
    assert issubclass(CnnPolicy, FlowPolicy) and issubclass(MultiInputPolicy, FlowPolicy)


@pytest.mark.parametrize("chunk", [2**16, 1999])
def test_a_folded_map_is_reported(monkeypatch, chunk):
    """One Euler step of a strong field turns part of space over; its exact density warns, whatever the chunks."""
    monkeypatch.setattr(density_module, "LARGEST_PART", chunk)
    torch.manual_seed(0)
    policy = FlowPolicy(
        spaces.Box(-1, 1, (3,)), spaces.Box(-1, 1, (2,)), lambda _: 1e-3, net_arch=[16], ode_steps=1, ode_solver="euler"
    )
    for parameter in policy.actor.parameters():
        parameter.data.add_(0.5 * torch.randn(parameter.shape))
    with pytest.warns(RuntimeWarning, match="fold"):
        policy.sample(np.zeros(3, np.float32), 2000)


@pytest.mark.parametrize("optimizer_class", [torch.optim.Adam, torch.optim.AdamW])
def test_fused_optimizers_do_what_the_others_do(make_model, optimizer_class):
    """The same parameters after some steps, up to rounding; an implementation that the user chose is kept."""
    parameters = []
    for optimizer_kwargs in ({}, {"fused": False}):
        model = make_model(
            "Pendulum-v1", policy_kwargs={"optimizer_class": optimizer_class, "optimizer_kwargs": optimizer_kwargs}
        )
        model.learn(40)
        assert model.actor.optimizer.defaults["fused"] is optimizer_kwargs.get("fused", True)
        parameters.append([p.detach() for p in model.policy.parameters()])
    for fused, plain in zip(*parameters, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-3, atol=1e-4)


# Features of any size


def test_features_are_normalised_by_running_statistics():
    torch.manual_seed(0)
    norm, centre, spread = RunningNorm(3), torch.tensor([1e4, 0.0, -3.0]), torch.tensor([1e3, 1.0, 0.1])
    batches = [centre + spread * torch.randn(64, 3) for _ in range(50)]
    torch.testing.assert_close(norm(batches[0]), (batches[0] * 1.001**-0.5).clamp(-10.0, 10.0))  # until it is told
    for batch in batches:
        norm.update(batch)
    everything = torch.cat(batches)
    torch.testing.assert_close(norm.mean, everything.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm.var, everything.var(0), rtol=0.05, atol=0.0)
    assert norm(everything).abs().amax() < 6.0
    assert norm(1e9 + everything).abs().amax() == 10.0
    for _ in range(1000):  # it forgets
        norm.update(torch.randn(64, 3))
    torch.testing.assert_close(norm.mean, torch.zeros(3), rtol=0.0, atol=0.5)


class Forces(gym.Env):
    """Observations in the thousands; the reward is for small actions."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (8,))
    action_space = gym.spaces.Box(-1.0, 1.0, (6,))

    def _forces(self):
        return (1000.0 * self.np_random.standard_normal(8)).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._forces(), {}

    def step(self, action):
        return self._forces(), -float(np.square(action).sum()), bool(self.np_random.random() < 0.1), False, {}


def test_observations_in_the_thousands_leave_the_policy_in_order():
    """Without a bound the mean log-density is above a million nats after seven gradient steps, and training stops."""
    settings = {"batch_size": 32, "actor_batch_size": None, "policy_delay": 1, "learning_starts": 50}
    env = Forces()
    model = FlowSAC("FlowPolicy", env, seed=0, policy_kwargs={"net_arch": [32, 32]}, **settings).learn(100)
    entropy = model.policy.entropy(np.stack([env._forces() for _ in range(64)])).detach()
    assert entropy.min() > 3.0
    assert entropy.max() < 6 * np.log(2.0) + 0.1  # of the uniform distribution, and the error of an estimate
