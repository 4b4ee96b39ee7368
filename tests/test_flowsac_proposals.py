"""How many proposals are drawn in training, what their distributions are told, and when alpha adapts."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.env_util import make_vec_env

from sb3_flowsac import FlowSAC
from sb3_flowsac.isfm import (
    CurrentPolicy,
    Proposal,
    SamplingDistribution,
)


class Watched(CurrentPolicy):
    """Policy proposals that keep what they were asked."""

    def __init__(self):
        self.asked = []

    def given(self, improvement, n):
        self.asked.append((n, improvement))
        return super().given(improvement, n)


def test_a_fixed_number_is_drawn_at_every_update(make_model):
    watched = Watched()
    make_model("Pendulum-v1", sampling_distribution=watched, n_proposals=11, policy_delay=2).learn(60)
    assert [n for n, _ in watched.asked] == [11] * 10


@pytest.mark.parametrize(("loss", "every"), [("both", 2), ("both", 3), ("isfm", 2), ("pathwise", 2)])
def test_isfm_takes_its_turns(make_model, loss, every):
    """With the pathwise loss at every ``isfm_interval``-th step of the actor's optimizer, alone at each."""
    watched = Watched()
    kwargs = {"sampling_distribution": watched, "policy_delay": 2, "actor_loss": loss, "isfm_interval": every}
    model = make_model("Pendulum-v1", **kwargs).learn(60)
    improvements = (model._n_updates + 1) // 2
    steps = {state["step"].item() for state in model.actor.optimizer.state.values()}
    assert max(steps) == improvements == 20
    assert len(watched.asked) == {"both": -(-improvements // every), "isfm": improvements, "pathwise": 0}[loss]


@pytest.mark.parametrize("loss", ["both", "isfm", "pathwise"])
def test_what_each_loss_moves(make_model, loss):
    """The pathwise one leaves the field at zero: the policy stays a Gaussian."""
    model = make_model("Pendulum-v1", actor_loss=loss).learn(60)
    velocity = model.actor.distribution(torch.randn(5, 3)).velocity(torch.randn(5, 2, 1), 0.5)
    assert bool(velocity.any()) == (loss != "pathwise")
    assert model.actor.flow.base.head.weight.any()
    names = model.logger.name_to_value
    assert ("train/ess" in names) == (loss != "pathwise") and ("train/pathwise_loss" in names) == (loss != "isfm")


class Ring(SamplingDistribution):
    """A user's own: two Gaussians of latents for each dimension, mirrored; it asks for an even number."""

    def __init__(self):
        self.checked = []

    def check(self, n):
        self.checked.append(n)
        if n % 2:
            raise ValueError(f"n_proposals={n} must be even for a Ring")

    def given(self, improvement, n):
        assert not torch.is_grad_enabled()
        return RingProposal(improvement.policy.noise(n // 2))


class RingProposal(Proposal):
    def __init__(self, noise):
        self.noise = noise

    def sample_with_log_prob(self):
        latents = torch.cat([1.0 + self.noise, -1.0 - self.noise], dim=1)
        return latents, self.log_prob(latents)

    def log_prob(self, latents):
        sides = [torch.distributions.Normal(centre, 1.0).log_prob(latents).sum(-1) for centre in (1.0, -1.0)]
        return torch.logsumexp(torch.stack(sides), 0) - np.log(2)


def test_a_sampling_distribution_of_ones_own(make_model, tmp_path):
    """Trains, is asked beforehand what it can draw, and is saved with the model."""
    own = Ring()
    env = make_vec_env("Pendulum-v1", n_envs=2)
    model = make_model(env, sampling_distribution=own, n_proposals=8, gradient_steps=-1).learn(80)
    assert model.sampling_distribution is own and model._n_updates > 20
    assert own.checked == [8]
    assert all(p.isfinite().all() for p in model.policy.parameters())
    model.save(tmp_path / "model")
    assert isinstance(FlowSAC.load(tmp_path / "model").sampling_distribution, Ring)
    with pytest.raises(ValueError, match="n_proposals=7 must be even for a Ring"):
        make_model("Pendulum-v1", sampling_distribution=own, n_proposals=7)


@pytest.mark.parametrize("policy_delay", [1, 4])
def test_alpha_adapts_as_often_as_the_actor(make_model, policy_delay):
    """By Adam's step on SAC's loss at the log-density that the critics' target has drawn."""
    model = make_model("Pendulum-v1", ent_coef="auto_0.5", policy_delay=policy_delay, learning_rate=1e-2).learn(20)
    log_alpha = torch.full((1,), 0.5).log().requires_grad_()
    adam = torch.optim.Adam([log_alpha], lr=1e-2)
    for _ in range(8):
        before = model.entropy_coefficient().item()
        model.train(1, 16)
        figures = model.logger.name_to_value
        if (model._n_updates - 1) % policy_delay:
            assert model.entropy_coefficient().item() == before
            model.logger.dump(0)
            continue
        loss = -(log_alpha * (figures["train/log_prob"] - 1.0)).mean()  # the target entropy is minus the dimension
        assert figures["train/ent_coef_loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
        adam.zero_grad()
        loss.backward()
        adam.step()
        model.logger.dump(0)
        assert model.entropy_coefficient().item() != before
        assert model.current_ent_coef() == pytest.approx(log_alpha.exp().item(), rel=1e-5)
