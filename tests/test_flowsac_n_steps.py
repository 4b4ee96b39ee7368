"""n-step returns: what SB3's buffer hands over, and the bias of its missing entropy, in closed form on the LQR."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.envs import SimpleMultiObsEnv

from maxent_envs import LQREnv, derived_action_bound, preset
from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.bellman import bellman_error
from sb3_flowsac.algorithm.critics import Critic, QuadraticCritic

ALPHA, N_STEPS = 0.5, 3


@pytest.mark.parametrize("n_steps", [2, 5])
def test_learning(make_model, n_steps):
    model = make_model("Pendulum-v1", n_steps=n_steps, gamma=0.9).learn(60)
    assert isinstance(model.replay_buffer, NStepReplayBuffer) and model._n_updates == 40
    assert (model.replay_buffer.n_steps, model.replay_buffer.gamma) == (n_steps, 0.9)


def test_a_buffer_of_ones_own_sets_its_own_n_steps(make_model):
    with pytest.warns(UserWarning, match="n_steps=3"):
        assert (
            type(make_model("Pendulum-v1", n_steps=3, replay_buffer_class=ReplayBuffer).replay_buffer) is ReplayBuffer
        )
    kwargs = {"replay_buffer_class": NStepReplayBuffer, "replay_buffer_kwargs": {"n_steps": 4, "gamma": 0.9}}
    assert make_model("Pendulum-v1", **kwargs).learn(40).replay_buffer.n_steps == 4


@pytest.mark.parametrize(
    ("saved", "given", "expected"),
    [
        (3, {"gamma": 0.9}, (NStepReplayBuffer, 3, 0.9)),
        (3, {"n_steps": 5}, (NStepReplayBuffer, 5, 0.99)),
        (1, {"n_steps": 3}, (NStepReplayBuffer, 3, 0.99)),
        (3, {"n_steps": 1}, (ReplayBuffer, None, None)),
    ],
)
def test_the_buffer_is_of_the_settings_given_at_load(make_model, tmp_path, recwarn, saved, given, expected):
    make_model("Pendulum-v1", n_steps=saved, gamma=0.99).save(tmp_path / "model")
    model = FlowSAC.load(tmp_path / "model", env=gym.make("Pendulum-v1"), **given)
    buffer = model.replay_buffer
    assert (type(buffer), getattr(buffer, "n_steps", None), getattr(buffer, "gamma", None)) == expected
    assert not [warning for warning in recwarn if "n_steps" in str(warning.message)]
    assert model.learn(40).num_timesteps == 40


def test_a_buffer_of_ones_own_is_kept_at_load(make_model, tmp_path):
    kwargs = {"replay_buffer_class": NStepReplayBuffer, "replay_buffer_kwargs": {"n_steps": 4, "gamma": 0.9}}
    make_model("Pendulum-v1", **kwargs).save(tmp_path / "model")
    buffer = FlowSAC.load(tmp_path / "model", env=gym.make("Pendulum-v1")).replay_buffer
    assert (type(buffer), buffer.n_steps, buffer.gamma) == (NStepReplayBuffer, 4, 0.9)


def test_dictionaries_have_none(make_model):
    with pytest.raises(AssertionError, match="N-step returns are not supported for Dict"):
        make_model(SimpleMultiObsEnv(discrete_actions=False), "MultiInputPolicy", n_steps=3)


def exact_model(make_model, monkeypatch, n_steps):
    """A model on the default LQR whose actor is the optimum and whose critics are its exact soft Q function."""
    problem = preset()
    optimum = problem.solve(ALPHA)
    bound = 3.0 * derived_action_bound(problem, ALPHA)  # so wide that no action is clipped
    model = make_model(
        LQREnv(action_bound=bound, alpha=ALPHA),
        policy_kwargs={"squash_output": False, "critic": "quadratic", "n_critics": 1},
        ent_coef=ALPHA,
        gamma=problem.gamma,
        n_steps=n_steps,
        buffer_size=40_000,
    )
    shift = ALPHA * problem.gamma / (1 - problem.gamma) * np.log(bound).sum()  # later entropies are of scaled actions
    columns = np.block([[np.eye(2), np.zeros((2, 2))], [np.zeros((2, 2)), np.diag(bound)]])
    later = np.hstack([problem.A, problem.B]) @ columns
    cost = columns.T @ np.block([[problem.Q, np.zeros((2, 2))], [np.zeros((2, 2)), problem.R]]) @ columns
    model.critic.form.data = torch.as_tensor(-(cost + problem.gamma * later.T @ optimum.P @ later))
    model.critic.constant.data.fill_(optimum.q_value(np.zeros(2), np.zeros(2)) - shift)

    def action_log_prob(obs, n=1):
        u = optimum.sample(obs.numpy()[:, None], rng)
        log_prob = optimum.log_prob(obs.numpy()[:, None], u) + np.log(bound).sum()
        return torch.as_tensor(u / bound, dtype=torch.float32), torch.as_tensor(log_prob, dtype=torch.float32)

    rng = np.random.default_rng(1)
    monkeypatch.setattr(model.policy.actor, "action_log_prob", action_log_prob)
    return model, optimum, bound


def store_trajectories(buffer, optimum, bound, length, count=10_000):
    """On-policy trajectories of ``length`` steps, one after another: windows that start them do not overlap."""
    problem, rng = optimum.problem, np.random.default_rng(0)
    x, steps = problem.initial_state(rng.standard_normal((count, 2))), []
    for _ in range(length):
        u = optimum.sample(x, rng)
        x_next = problem.next_state(x, u, rng.standard_normal((count, 2)))
        steps.append((x, x_next, u / bound, problem.reward(x, u)))
        x = x_next
    names = "observations", "next_observations", "actions", "rewards"
    for name, values in zip(names, zip(*steps, strict=True), strict=True):
        stored = getattr(buffer, name)
        flat = np.stack(values, axis=1).reshape(count * length, *stored.shape[1:])
        stored[: count * length] = flat
    buffer.pos = count * length
    return np.arange(0, count * length, length)


@pytest.mark.parametrize("n_steps", [1, N_STEPS])
def test_the_missing_entropy_biases_the_critic_as_in_closed_form(make_model, monkeypatch, n_steps):
    """
    The mean TD error at the exact Q is (1 - gamma^n) times how far the n-step fixed point lies from it: a constant
    here, alpha H (gamma^n / (1 - gamma^n) - gamma / (1 - gamma)) with H the entropy of the scaled action.
    """
    model, optimum, bound = exact_model(make_model, monkeypatch, n_steps)
    starts = store_trajectories(model.replay_buffer, optimum, bound, n_steps)
    batch = model.replay_buffer._get_samples(starts)
    networks = model.actor, model.critic, model.critic_target
    # The targets as any critic's loss takes them
    monkeypatch.setattr(QuadraticCritic, "loss", Critic.loss)
    model.critic.constant.requires_grad_(True)
    loss = bellman_error(*networks, batch, gamma=model.gamma, n=1, ent_coef=model.entropy_coefficient()).critic_loss
    loss.backward()
    mean = -model.critic.constant.grad.item()
    standard_error = ((2 * loss.item() - mean**2) / len(starts)) ** 0.5
    gamma, entropy = optimum.problem.gamma, optimum.entropy - np.log(bound).sum()
    bias = ALPHA * entropy * (gamma**n_steps / (1 - gamma**n_steps) - gamma / (1 - gamma))
    assert abs(mean / (1 - gamma**n_steps) - bias) < 4.5 * standard_error / (1 - gamma**n_steps)
    assert (abs(bias) > 20 * standard_error) == (n_steps > 1)
