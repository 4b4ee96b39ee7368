"""Critics with batch renormalisation: CrossQ's layer, its joint pass, and no target network."""

import pytest
import torch
import torch.nn.functional as F
from network_critics import make_critic, random_transitions
from sb3_contrib.common.torch_layers import BatchRenorm1d

from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.critics import BatchRenormCritic, batch_renorm
from sb3_flowsac.algorithm.critics.batch_renorm import BatchRenorm


@pytest.mark.parametrize("warm_up", [0, 100])
def test_the_layer_is_that_of_sb3_contrib(monkeypatch, warm_up):
    """For each member of an ensemble: its output, gradients and running statistics, before and after the warm-up."""
    monkeypatch.setattr(batch_renorm, "WARM_UP", warm_up)
    ours = BatchRenorm(2, 5).double()
    theirs = [BatchRenorm1d(5, warmup_steps=warm_up).double() for _ in range(2)]
    for step in range(4):
        x = ((1 + step) * torch.randn(2, 16, 5, dtype=torch.float64) + step).requires_grad_()
        scale, shift = ours(x)
        output, expected = scale * x + shift, torch.stack([layer(part) for layer, part in zip(theirs, x, strict=True)])
        torch.testing.assert_close(output, expected)
        gradients = [torch.autograd.grad(y.sin().sum(), x, retain_graph=True)[0] for y in (output, expected)]
        torch.testing.assert_close(*gradients)
    for layer, mean, var in zip(theirs, ours.running_mean, ours.running_var, strict=True):
        torch.testing.assert_close(mean[0], layer.ra_mean)
        torch.testing.assert_close(var[0], layer.ra_var)
        layer.eval()
    scale, shift = ours()
    torch.testing.assert_close(scale * x + shift, torch.stack([layer(p) for layer, p in zip(theirs, x, strict=True)]))


def test_the_loss_is_the_soft_bellman_error_of_one_joint_pass(perturb):
    critic, transitions = perturb(make_critic(BatchRenormCritic), 0.1), random_transitions()
    rows = [torch.cat([transitions.observations, transitions.actions], dim=-1)]
    for k in range(2):
        rows.append(torch.cat([transitions.next_observations, transitions.next_actions[:, k]], dim=-1))
    expected = 0.0
    hidden = [torch.cat(rows) for _ in range(2)]
    for i, layer in enumerate(critic.layers):
        for c in range(2):
            h = critic.activation(hidden[c]) if i else hidden[c]
            h = (h - h.mean(0)) / (h.var(0) + layer.norm.eps).sqrt() * layer.norm.weight[c, 0] + layer.norm.bias[c, 0]
            hidden[c] = h @ layer.weight[c] + layer.bias[c, 0]
    now, *following = torch.stack(hidden).squeeze(-1).chunk(3, dim=1)
    soft = torch.stack([q.min(0).values for q in following], dim=1) + transitions.next_bonuses
    targets = (transitions.rewards + 0.9 * soft.mean(1, keepdim=True)).detach().T
    expected = 0.5 * sum(F.mse_loss(now[c : c + 1], targets) for c in range(2))
    torch.testing.assert_close(critic.loss(critic, transitions).loss, expected)


def test_values_are_those_of_the_running_statistics(perturb):
    """For one action or many, and they leave the statistics alone."""
    critic = perturb(make_critic(BatchRenormCritic), 0.1)
    critic.loss(critic, random_transitions())
    before = {name: value.clone() for name, value in critic.named_buffers()}
    obs, actions = torch.randn(6, 3), torch.rand(6, 3, 2) * 2 - 1
    with torch.no_grad():
        many = critic.q_values(critic.features(obs), actions)
        one = torch.stack([critic(obs, actions[:, k]) for k in range(3)], dim=-1)
    torch.testing.assert_close(many, one)
    torch.testing.assert_close(many, critic.q_values(critic.features(obs), actions))
    assert all(torch.equal(before[name], value) for name, value in critic.named_buffers())


def test_training_saving_and_loading(make_model, tmp_path):
    kwargs = {"critic": "batch_renorm", "share_features_extractor": False}
    model = make_model("Pendulum-v1", policy_kwargs=kwargs, policy_delay=2).learn(60)
    assert model.policy.critic_target is None and model.critic_target is model.critic
    assert model.critic.layers[0].norm.steps == model._n_updates == 40
    model.save(tmp_path / "model")
    loaded = FlowSAC.load(tmp_path / "model", env=model.get_env(), device="cpu")
    assert all(
        torch.equal(value, loaded.policy.state_dict()[name]) for name, value in model.policy.state_dict().items()
    )
    loaded.learn(40)
    assert all(parameter.isfinite().all() for parameter in loaded.policy.parameters())


@pytest.mark.parametrize("value", [1.0, 1e6])
def test_a_constant_feature_has_finite_gradients(value):
    """As of an image that stays the same: the variance of the batch is 0, where the gradient of its root is not."""
    layer, x = BatchRenorm(2, 3), torch.full((2, 16, 3), value, requires_grad=True)
    scale, shift = layer(x)
    (scale * x + shift).sin().sum().backward()
    assert x.grad.isfinite().all()
