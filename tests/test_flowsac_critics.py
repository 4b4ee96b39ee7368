"""The critics: a stacked ensemble equals separate networks, a quadratic form equals its explicit sums."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy.linalg import solve_discrete_lyapunov
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.critics import NetworkCritic, QuadraticCritic, SoftTransitions, network
from sb3_flowsac.algorithm.critics.network import EnsembleLinear

OBSERVATIONS, ACTIONS = spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(-1, 1, (2,))


def make_critic(critic_class, perturb, n_critics=2, action_space=ACTIONS, **kwargs):
    extractor = FlattenExtractor(OBSERVATIONS)
    critic = critic_class(
        observation_space=OBSERVATIONS,
        action_space=action_space,
        features_extractor=extractor,
        features_dim=extractor.features_dim,
        n_critics=n_critics,
        **kwargs,
    )
    return perturb(critic, 0.2).double()


@pytest.fixture(params=["network", "quadratic"])
def critic(request, perturb):
    if request.param == "network":
        return make_critic(NetworkCritic, perturb, net_arch=[8, 5])
    return make_critic(QuadraticCritic, perturb)


@pytest.mark.parametrize("n_critics", [1, 2, 5])
@pytest.mark.parametrize(
    ("net_arch", "activation"), [([8, 5], nn.ReLU), ([6], nn.Tanh), ([], nn.ReLU), ([4, 4, 4], nn.SiLU)]
)
def test_an_ensemble_equals_separate_networks(perturb, n_critics, net_arch, activation):
    critic = make_critic(NetworkCritic, perturb, n_critics, net_arch=net_arch, activation_fn=activation)
    obs, actions = torch.randn(7, 3), torch.randn(7, 4, 2, dtype=torch.float64)
    inputs = torch.cat([obs.double().unsqueeze(1).expand(-1, 4, -1), actions], dim=-1)
    for i in range(n_critics):
        modules = []
        for layer in critic.layers:
            linear = nn.Linear(*layer.weight.shape[1:]).double()
            linear.load_state_dict({"weight": layer.weight[i].T, "bias": layer.bias[i, 0]})
            modules += [linear, activation()]
        separate = nn.Sequential(*modules[:-1])
        torch.testing.assert_close(
            critic_values(critic, obs, actions)[i], separate(inputs).squeeze(-1), rtol=1e-10, atol=1e-10
        )


def critic_values(critic, obs, actions):
    """Q values through features in double precision."""
    return critic.q_values(obs.double(), actions)


@pytest.mark.parametrize("n_critics", [1, 3])
def test_a_quadratic_critic_equals_its_explicit_sums(perturb, n_critics):
    critic = make_critic(QuadraticCritic, perturb, n_critics)
    obs, actions = torch.randn(4, 3), torch.randn(4, 2, 2, dtype=torch.float64)
    values, form = critic_values(critic, obs, actions), critic.form.tolist()
    assert values.shape == (n_critics, 4, 2)
    for b in range(4):
        for k in range(2):
            z = [*obs[b].double().tolist(), *actions[b, k].tolist()]
            total = sum(z[i] * form[i][j] * z[j] for i in range(5) for j in range(5))
            expected = pytest.approx(total + critic.constant.item(), rel=1e-10)
            assert all(values[c, b, k].item() == expected for c in range(n_critics))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_quadratic_critic_is_homogeneous_in_the_environments_action(perturb, dtype):
    """Also where the Box is not centred at 0: no linear term in the action u, so Q(0, u) - c grows as |u|^2."""
    low, high = np.array([-1.0, 2.0], dtype), np.array([3.0, 4.0], dtype)
    critic = make_critic(QuadraticCritic, perturb, action_space=spaces.Box(low, high, dtype=dtype))
    u = np.array([0.0, 1.0, -2.0])[:, None] * np.array([0.7, 3.0])
    scaled = torch.as_tensor(2 * (u - low) / (high - low) - 1)[None]
    at_zero, at_one, at_minus_two = critic_values(critic, torch.zeros(1, 3), scaled)[:, 0].T
    torch.testing.assert_close(at_minus_two - at_zero, 4 * (at_one - at_zero), rtol=1e-6, atol=1e-6)
    assert (at_one - at_zero).abs().min() > 0.01


@pytest.mark.parametrize("slowest", [0.99, 1.05], ids=["stable", "unstable"])
def test_a_quadratic_critic_evaluates_a_policy(perturb, slowest):
    """
    A policy under which a mode decays in a hundred steps has its values, by scipy, after two hundred updates, in which
    single backups would have gone a third of the way. One under which a mode grows has none: there each update is a
    tenth of a backup.
    """
    critic = make_critic(QuadraticCritic, perturb, n_critics=1)
    torch.nn.init.zeros_(critic.form)
    A, B = torch.diag(torch.tensor([slowest, 0.9, 0.5])).double(), torch.tensor([[0.0, 0.3], [1.0, 0.0], [0.2, 0.5]])
    K, cost, gamma = torch.tensor([[0.0, 0.2, 0.1], [0.0, 0.0, 0.4]]).double(), torch.rand(5).double(), 0.999
    expected, T = torch.zeros(5, 5).double(), torch.cat([A.T, B.double().T]) @ torch.cat([torch.eye(3), -K.T], dim=1)
    n_updates = 200 if slowest < 1 else 20
    for _ in range(n_updates):
        z = torch.randn(300, 5).double()
        next_states = z[:, :3] @ A.T + z[:, 3:] @ B.double().T
        batch = SoftTransitions(
            observations=z[:, :3],
            actions=z[:, 3:],
            rewards=-(z.square() @ cost).unsqueeze(1),
            discounts=torch.full((300, 1), gamma),
            next_observations=next_states,
            next_actions=-(next_states @ K.T).unsqueeze(1),
            next_bonuses=torch.zeros(300, 1),
        )
        critic.minimize(critic.loss(critic, batch).loss)
        expected += critic.rate * (-torch.diag(cost) + gamma * T @ expected @ T.T - expected)
    if slowest < 1:
        expected = torch.as_tensor(solve_discrete_lyapunov(gamma**0.5 * T.numpy(), -torch.diag(cost).numpy()))
    torch.testing.assert_close(critic.form, expected, rtol=1e-3, atol=1e-3)


class WithStatistics(NetworkCritic):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.batch_norm = nn.BatchNorm1d(self.features_dim)

    def q_values(self, features, actions):
        return super().q_values(self.batch_norm(features), actions)


def test_a_critic_of_ones_own_is_tried_without_moving_its_statistics():
    critic = FlowSAC("FlowPolicy", "Pendulum-v1", buffer_size=10, policy_kwargs={"critic": WithStatistics}).critic
    assert critic.batch_norm.num_batches_tracked == 0


class WithoutKeywords(NetworkCritic):
    def __init__(self, observation_space, action_space):
        super().__init__(observation_space=observation_space, action_space=action_space)


def test_a_critic_s_constructor_that_does_not_fit_is_named():
    with pytest.raises(TypeError, match=r"critic_kwargs=None do not fit WithoutKeywords: "):
        FlowSAC("FlowPolicy", "Pendulum-v1", buffer_size=10, policy_kwargs={"critic": WithoutKeywords})


class WithoutEnsemble(NetworkCritic):
    def q_values(self, features, actions):
        return super().q_values(features, actions)[0]


class KeepsTheAxis(NetworkCritic):
    def reduce(self, q_values):
        return q_values.amin(0, keepdim=True)


@pytest.mark.parametrize(
    ("critic", "message"),
    [
        (WithoutEnsemble, r"q_values gives shape \(2, 2, 3\) .*, got \(2, 3\) from WithoutEnsemble"),
        (KeepsTheAxis, r"value gives shape \(2, 3\) .*, got \(1, 2, 3\) from KeepsTheAxis"),
    ],
)
def test_a_critic_of_ones_own_with_wrong_shapes_is_refused(critic, message):
    with pytest.raises(ValueError, match=message):
        FlowSAC("FlowPolicy", "Pendulum-v1", policy_kwargs={"critic": critic})


def test_many_actions_equal_one_after_another(critic):
    critic.float()
    obs, actions = torch.randn(5, 3), torch.randn(5, 4, 2)
    many = critic.q_values(critic.features(obs), actions)
    assert torch.equal(critic.value(critic.features(obs), actions), many.min(0).values)
    assert many.shape == (2, 5, 4)
    one_by_one = torch.stack([critic(obs, actions[:, i]) for i in range(4)], dim=-1)
    assert critic(obs, actions[:, 0]).shape == (2, 5)
    torch.testing.assert_close(many, one_by_one)
    alone = torch.cat([critic.q_values(critic.features(obs[b : b + 1]), actions[b : b + 1]) for b in range(5)], dim=1)
    torch.testing.assert_close(many, alone)


def test_members_are_independent(perturb):
    """A member's value has no gradient to another's parameters, and members start apart."""
    critic = make_critic(NetworkCritic, perturb, net_arch=[8, 5])
    values = critic_values(critic, torch.randn(5, 3), torch.randn(5, 4, 2, dtype=torch.float64))
    for gradient in torch.autograd.grad(values[0].sum(), critic.parameters()):
        assert gradient[0].any() and not gradient[1:].any()
    assert (values[0] - values[1]).abs().max() > 1e-3


def test_layers_start_as_torchs_do():
    torch.manual_seed(0)
    ours, theirs = EnsembleLinear(50, 16, 64), [nn.Linear(16, 64) for _ in range(50)]
    for mine, reference in ((ours.weight, [m.weight for m in theirs]), (ours.bias, [m.bias for m in theirs])):
        reference = torch.stack(list(reference))
        assert mine.abs().max() <= 16**-0.5 and reference.abs().max() <= 16**-0.5
        n = mine.numel()
        assert (
            abs(mine.std() / reference.std() - 1) < 4.5 / n**0.5
        )  # two uniform samples: each std is known to 0.45 / sqrt(n)
        assert abs(mine.mean()) < 4.5 * reference.std() / n**0.5


@pytest.mark.parametrize("shared", [True, False])
def test_a_shared_extractor_gets_no_gradient_from_the_critic(shared):
    class Learnt(FlattenExtractor):
        def __init__(self, space):
            super().__init__(space)
            self.layer = nn.Linear(3, 3)

        def forward(self, observations):
            return self.layer(super().forward(observations))

    extractor = Learnt(OBSERVATIONS)
    critic = NetworkCritic(
        observation_space=OBSERVATIONS,
        action_space=ACTIONS,
        features_extractor=extractor,
        features_dim=3,
        net_arch=[8],
        share_features_extractor=shared,
    )
    critic(torch.randn(4, 3), torch.randn(4, 2)).sum().backward()
    assert (extractor.layer.weight.grad is None) == shared
    assert critic.layers[0].weight.grad.any()


@pytest.mark.parametrize("rows", [1, 10, 1000])
def test_values_without_gradients_do_not_depend_on_the_blocks(perturb, monkeypatch, rows):
    critic = make_critic(NetworkCritic, perturb, 3, net_arch=[8, 5])
    obs, actions = torch.randn(7, 3), torch.randn(7, 4, 2, dtype=torch.float64)
    expected = critic_values(critic, obs, actions)
    monkeypatch.setattr(network, "CACHED_ROWS", rows)
    with torch.no_grad():
        torch.testing.assert_close(critic_values(critic, obs, actions), expected.detach(), rtol=1e-12, atol=1e-12)
