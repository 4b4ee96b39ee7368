"""One step of training by hand: the Bellman target, the weights of proposals, the temperature and the target
network."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from sb3_flowsac.algorithm.bellman import bellman_error
from sb3_flowsac.isfm import CurrentPolicy, UniformBox


class Blind(gym.Env):
    """Enough of an environment to build a model for: 3 observations, actions in a Box of its own, no reward."""

    def __init__(self, dim=2):
        self.observation_space, self.action_space = spaces.Box(-1, 1, (3,)), spaces.Box(-2, 5, (dim,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.zeros(3, np.float32), 0.0, True, False, {}


def random_batch(n=6, discounts=None):
    return ReplayBufferSamples(
        observations=torch.randn(n, 3),
        actions=torch.rand(n, 2) * 2 - 1,
        next_observations=torch.randn(n, 3),
        dones=torch.tensor([0.0, 1.0] * (n // 2)).view(n, 1),
        rewards=torch.randn(n, 1),
        discounts=discounts,
    )


def soft_bellman_error(model, batch):
    networks = model.actor, model.critic, model.critic_target
    return bellman_error(*networks, batch, model.gamma, model.n_next_actions, model.entropy_coefficient())


class Recorded(CurrentPolicy):
    """The policy's own proposals, and the improvement steps that asked for them."""

    def __init__(self):
        self.steps = []

    def given(self, improvement, n):
        self.steps.append(improvement)
        return super().given(improvement, n)


@pytest.mark.parametrize("n_critics", [1, 2, 3])
@pytest.mark.parametrize("n_next_actions", [1, 4])
@pytest.mark.parametrize("squashed", [True, False], ids=["squashed", "unsquashed"])
@pytest.mark.parametrize("ent_coef", [0.3, "auto_0.2"])
@pytest.mark.parametrize("discounted", [True, False], ids=["n-step", "one-step"])
def test_critic_loss_is_the_soft_bellman_error(
    make_model, perturb, monkeypatch, n_critics, n_next_actions, squashed, ent_coef, discounted
):
    model = make_model(
        Blind(),
        gamma=0.9,
        ent_coef=ent_coef,
        n_next_actions=n_next_actions,
        policy_kwargs={"critic": "network", "n_critics": n_critics, "squash_output": squashed},
    )
    perturb(model.critic_target, 0.3, seed=5)
    batch = random_batch(discounts=torch.rand(6, 1) if discounted else None)
    next_actions, log_prob = 1.5 * torch.randn(6, n_next_actions, 2), torch.randn(6, n_next_actions)
    next_actions = torch.tanh(next_actions) if squashed else next_actions
    monkeypatch.setattr(model.policy.actor, "action_log_prob", lambda obs, n=1: (next_actions, log_prob))
    error = soft_bellman_error(model, batch)

    alpha, expected = {0.3: 0.3, "auto_0.2": 0.2}[ent_coef], 0.0
    with torch.no_grad():
        for b in range(6):
            soft_values = []
            for k in range(n_next_actions):
                inside = next_actions[b, k].clamp(-1, 1).unsqueeze(0)
                q = min(model.critic_target(batch.next_observations[b : b + 1], inside).flatten().tolist())
                soft_values.append(q - alpha * log_prob[b, k].item())
            discount = batch.discounts[b].item() if discounted else 0.9
            target = batch.rewards[b].item() + (1 - batch.dones[b].item()) * discount * np.mean(soft_values)
            for q in model.critic(batch.observations[b : b + 1], batch.actions[b : b + 1]).flatten().tolist():
                expected += 0.5 * (q - target) ** 2 / 6
    assert error.critic_loss.item() == pytest.approx(expected, rel=1e-4)
    assert error.clip_fraction.item() == pytest.approx((next_actions.abs() > 1).float().mean().item())
    assert (error.clip_fraction > 0) == (not squashed)
    assert error.log_prob.item() == pytest.approx(log_prob.mean().item())


def test_the_target_has_no_gradient(make_model):
    model = make_model(Blind(), ent_coef=0.2, policy_kwargs={"critic": "network"})
    soft_bellman_error(model, random_batch()).critic_loss.backward()
    assert all(p.grad is None for module in (model.actor, model.critic_target) for p in module.parameters())
    assert all(p.grad is not None for p in model.critic.parameters())


def test_n_steps_store_discounted_sums_of_rewards(make_model):
    """The batch of a 3-step buffer: r_0 + gamma r_1 + gamma^2 r_2, discount gamma^3, shorter at the end of an
    episode."""
    model = make_model(Blind(), n_steps=3, gamma=0.9)
    assert isinstance(model.replay_buffer, NStepReplayBuffer)
    for k in range(5):
        obs = np.full((1, 3), k / 10, np.float32)
        done = np.array([k == 4])
        model.replay_buffer.add(obs, obs + 0.1, np.zeros((1, 2)), np.array([2.0**k]), done, [{}])
    batch = model.replay_buffer._get_samples(np.arange(5))
    rewards = [1 + 0.9 * 2 + 0.81 * 4, 2 + 0.9 * 4 + 0.81 * 8, 4 + 0.9 * 8 + 0.81 * 16, 8 + 0.9 * 16, 16]
    np.testing.assert_allclose(batch.rewards.flatten(), rewards, rtol=1e-6)
    np.testing.assert_allclose(batch.dones.flatten(), [0, 0, 1, 1, 1])
    np.testing.assert_allclose(batch.discounts.flatten()[:2], 0.9**3, rtol=1e-6)


@pytest.mark.parametrize(
    ("squashed", "name"),
    # Not policy proposals alone under tanh, whose weights have infinite variance
    [
        *[(True, name) for name in ("defensive", "uniform", "newton")],
        *[(False, name) for name in ("defensive", "policy", "uniform", "newton")],
    ],
)
def test_weighted_proposals_estimate_the_target(make_model, perturb, weighted_proposals, squashed, name):
    """Moments of exp(Q / alpha) on the box, by quadrature, within 4.5 standard errors over the states."""
    model = make_model(
        Blind(dim=1),
        ent_coef=0.5,
        n_proposals=400,
        sampling_distribution=name,
        actor_batch_size=None,
        policy_kwargs={"squash_output": squashed, "log_std_init": -0.3},
    )
    perturb(model.actor, 0.02)

    def q_value(actions):
        return torch.stack(
            [torch.sin(4 * actions[..., 0]), torch.sin(4 * actions[..., 0]) + actions[..., 0] ** 2 - 0.5]
        )

    model.critic.q_values = lambda features, actions: q_value(actions)
    latents, weights = weighted_proposals(model, torch.zeros(400, 3), torch.tensor(0.5))
    actions = model.actor.transform(latents)[..., 0]
    grid = torch.linspace(-1, 1, 4001)
    density = torch.softmax(q_value(grid.unsqueeze(-1)).amin(0) / 0.5, dim=0)
    assert latents.shape == (400, 400, 1)
    torch.testing.assert_close(weights.sum(-1), torch.ones(400))
    assert not weights[actions.abs() > 1].any()
    for function in (lambda a: a, torch.square, lambda a: torch.cos(3 * a)):
        estimate = (weights * function(actions)).sum(-1)
        # The bias of self-normalising, about 1 / n_proposals of the spread, is below the standard error over 400 states
        expected, standard_error = (density * function(grid)).sum(), estimate.std() / 20.0
        assert abs(estimate.mean() - expected) < 4.5 * standard_error + 1.0 / 400


def test_the_actor_is_improved_in_the_first_states_of_the_batch(make_model):
    recorded = Recorded()
    model = make_model(Blind(), actor_batch_size=4, sampling_distribution=recorded)
    obs = torch.randn(6, 3)
    for size, expected in ((4, 4), (9, 6), (None, 6)):
        model.actor_batch_size = size
        model.improve_actor(obs, torch.tensor(0.2))
        assert recorded.steps[-1].policy.batch_size == expected


@pytest.mark.parametrize("n_critics", [1, 2, 3])
def test_the_improvement_steps_target_is_the_least_q_over_alpha(make_model, perturb, n_critics):
    """Up to a constant for each state; its score is the gradient of that, divided by alpha."""
    recorded = Recorded()
    model = make_model(Blind(), policy_kwargs={"n_critics": n_critics}, sampling_distribution=recorded)
    perturb(model.critic, 0.3)
    obs, actions = torch.randn(4, 3), torch.rand(4, 5, 2) * 2 - 1
    model.weigh_proposals(model.actor.distribution(obs), obs, torch.tensor(0.2))
    (improvement,) = recorded.steps
    points = actions.clone().requires_grad_()
    q_values = torch.stack(
        [torch.stack([model.critic(obs[i : i + 1], a[None]).min() for a in row]) for i, row in enumerate(points)]
    )
    (gradient,) = torch.autograd.grad(q_values.sum() / 0.2, points)
    target, expected = improvement.log_action_target(actions).detach(), q_values.detach() / 0.2
    torch.testing.assert_close(target - target[:, :1], expected - expected[:, :1], rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(improvement.action_score(actions), gradient, rtol=1e-4, atol=1e-4)
    assert all(p.grad is None for p in model.critic.parameters())


def test_equal_q_values_and_uniform_proposals_weigh_alike(make_model, weighted_proposals):
    """Both without and with the tanh: the target is then uniform on the box."""
    for squashed in (True, False):
        kwargs = {"policy_kwargs": {"squash_output": squashed}, "ent_coef": 0.1, "n_proposals": 10}
        model = make_model(Blind(), sampling_distribution=UniformBox(), **kwargs)
        model.critic.q_values = lambda features, actions: torch.zeros(2, *actions.shape[:-1])
        _, weights = weighted_proposals(model, torch.zeros(3, 3), torch.tensor(0.1))
        torch.testing.assert_close(weights, torch.full((3, 10), 0.1), rtol=1e-3, atol=0)


@pytest.mark.parametrize("scale", [1e6, -1e6])
@pytest.mark.parametrize("squashed", [True, False], ids=["squashed", "unsquashed"])
@pytest.mark.parametrize("name", ["defensive", "newton"])
def test_huge_q_values_leave_finite_weights_and_gradients(make_model, name, squashed, scale):
    kwargs = {"sampling_distribution": name, "ent_coef": 1.0, "policy_kwargs": {"squash_output": squashed}}
    model = make_model(Blind(), **kwargs)
    model.critic.q_values = lambda features, actions: scale * actions.sum(-1).unsqueeze(0)
    stats = model.improve_actor(torch.randn(5, 3), torch.tensor(1.0))
    assert all(value.isfinite() for value in stats.values())
    assert all(p.grad.isfinite().all() for p in model.actor.parameters() if p.grad is not None)
    if name == "defensive":  # the others may reach the bound more than once
        assert stats["max_weight"] > 0.99 and stats["ess"] == pytest.approx(1 / 8, rel=1e-2)


def test_states_without_support_are_logged_without_nan(make_model):
    """Every proposal of an unsquashed policy outside the box: the loss is zero and the diagnostics are no nan."""
    policy = {"squash_output": False, "log_std_init": -3.0}
    model = make_model(Blind(), actor_loss="isfm", sampling_distribution="policy", policy_kwargs=policy, ent_coef=0.1)
    with torch.no_grad():
        model.actor.flow.base.head.bias[:2] = 100.0
    stats = model.improve_actor(torch.randn(5, 3), torch.tensor(0.1))
    assert stats["actor_loss"] == 0.0
    assert not any(value.isnan() for value in stats.values())


@pytest.mark.parametrize(("target_entropy", "found"), [("auto", -2.0), (-0.5, -0.5)])
def test_the_target_entropy_is_minus_the_actions_dimension_by_default(make_model, target_entropy, found):
    assert make_model(Blind(), target_entropy=target_entropy).target_entropy == found


def test_an_entropy_that_squashed_actions_cannot_have_is_refused(make_model):
    """That of the uniform distribution is the largest: 2 log 2 for two components. Beyond it alpha grows for ever."""
    make_model(Blind(), target_entropy=1.38)
    with pytest.raises(ValueError, match=r"target_entropy.*1\.386.*1\.39"):
        make_model(Blind(), target_entropy=1.39)
    make_model(Blind(), target_entropy=1.39, policy_kwargs={"squash_output": False})


@pytest.mark.parametrize(("interval", "delay"), [(1, 1), (2, 3), (3, 2)])
def test_target_and_actor_are_updated_at_their_intervals(make_model, interval, delay):
    """After each of six gradient steps: the actor has moved every ``policy_delay``, the target every ``interval``."""
    model = make_model(
        Blind(),
        target_update_interval=interval,
        policy_delay=delay,
        tau=0.25,
        ent_coef=0.2,
        learning_rate=1e-3,
        policy_kwargs={"critic": "network"},
    )
    model.learn(25)
    model._n_updates = 0
    for step in range(1, 7):
        actor, critic_target = copy.deepcopy(model.actor.state_dict()), copy.deepcopy(model.critic_target.state_dict())
        model.train(1, 8)
        moved = any(not torch.equal(value, actor[name]) for name, value in model.actor.state_dict().items())
        assert moved == ((step - 1) % delay == 0)  # in the first step, too
        for name, value in model.critic_target.state_dict().items():
            expected = critic_target[name]
            if step % interval == 0:
                expected = 0.75 * expected + 0.25 * model.critic.state_dict()[name]
            torch.testing.assert_close(value, expected)
