"""The benchmark of static targets: its measures against quadrature, its fits, its goals, its command line."""

import runpy
import sys

import numpy as np
import pytest
import torch

from experiments.distributions.static_targets.cases import Case
from experiments.distributions.static_targets.fits import METHODS, Gaussian
from experiments.distributions.static_targets.goals import Goal
from experiments.distributions.static_targets.measures import measures
from maxent_envs.targets import RotatingMixture, TwoHumps

GRID = (np.arange(4000) + 0.5) / 2000 - 1.0


def fitted(method, target, n_updates, seed=0):
    fit = METHODS[method](Case(target, n_updates), seed)
    for _ in range(n_updates):
        fit.update(*fit.batch())
    return fit


@pytest.mark.parametrize("method", ["isfm", "sac_fast"])
def test_measures_agree_with_quadrature(method):
    target = TwoHumps()
    fit = fitted(method, target, 15)
    found, state, grid = measures(fit), np.zeros((1, 1), np.float32), GRID[None, :, None]
    log_pi, log_p = fit.log_prob(state, grid)[0], target.log_density(state, grid)[0]
    pi, p, cell = np.exp(log_pi), np.exp(log_p), 2.0 / len(GRID)
    assert pi.sum() * cell == pytest.approx(1.0, abs=1e-3)
    assert found["kl"] == pytest.approx((pi * (log_pi - log_p)).sum() * cell, abs=4 * found["kl_error"])
    assert found["forward_kl"] == pytest.approx((p * (log_p - log_pi)).sum() * cell, rel=0.1)
    deviation = abs((pi * (GRID > 0)).sum() * cell - 0.3)
    assert found["mode_mass"] == pytest.approx(deviation, abs=0.015)
    assert found["mode_mass_in_states"] == pytest.approx(deviation, abs=0.03)


def test_the_target_itself_has_no_divergence():
    class Perfect(Gaussian):
        def sample(self, states, n, generator):
            actions = self.target.sample(states, n, np.random.default_rng(0))
            return actions, self.target.log_density(states, actions)

        def log_prob(self, states, actions):
            return self.target.log_density(states, actions)

    found = measures(Perfect(Case(RotatingMixture(), 1), 0))
    assert found["kl"] == found["forward_kl"] == 0.0
    assert found["ess"] == pytest.approx(1.0)
    assert found["mode_mass"] < 0.01 and found["mode_mass_in_states"] < 0.02


def test_a_policy_with_other_modes_in_every_state_is_seen():
    """Each mode has its mass on average, and in no state."""

    class OneMode:
        target = RotatingMixture(n_modes=2)

        def sample(self, states, n, generator):
            first = self.target.modes(states)[:, 0]
            actions = np.tile(np.abs(first)[:, None], (1, n, 1))  # the same quadrant whatever the state
            return actions, np.zeros(actions.shape[:2])

        def log_prob(self, states, actions):
            return np.zeros(actions.shape[:2])

    found = measures(OneMode())
    assert found["mode_mass"] < 0.1
    assert found["mode_mass_in_states"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(("method", "per_state"), [("policy", 16 + 1), ("isfm", 16 + 2 + 1), ("true", 0), ("sac", 16)])
def test_values_of_the_critic_are_counted(method, per_state):
    assert fitted(method, TwoHumps(), 2).critic.evaluations == 2 * 128 * per_state


@pytest.mark.parametrize("method", ["isfm", "true"])
def test_fits_approach_the_target_and_repeat(method):
    def divergence(n_updates):
        fit = fitted(method, TwoHumps(), n_updates)
        states = np.zeros((16, 1), np.float32)
        actions, log_prob = fit.sample(states, 64, torch.Generator().manual_seed(0))
        return (log_prob - fit.target.log_density(states, actions)).mean()

    start, end, again = (divergence(n) for n in (1, 80, 80))
    assert end < 0.5 * start
    assert end == again


@pytest.mark.parametrize("method", ["isfm", "true"])
def test_the_learning_rate_is_flowsacs(method):
    """It falls with the progress that the run has told."""
    fit = fitted(method, TwoHumps(), 1)
    assert fit.model.actor.optimizer.param_groups[0]["lr"] == 1e-3
    fit.progress_remaining = 0.1
    fit.update(*fit.batch())
    assert fit.model.actor.optimizer.param_groups[0]["lr"] == pytest.approx(5e-4)


def test_goals_see_every_seed():
    def rows(*kls):
        return [{"updates": count, "kl": kl} for count, kl in zip((10, 20), kls, strict=True)]

    runs = {
        ("ring", "isfm"): {0: rows(9.0, 0.1), 1: rows(0.0, 0.3)},
        ("ring", "true"): {0: rows(9.0, 0.1), 1: rows(1.0, 0.2)},
    }
    assert Goal("ring", 20, "kl", 0.2).values(runs) == [0.1, 0.3]
    assert Goal("ring", 20, "kl", 1.5, relative=True).values(runs) == pytest.approx([1.0, 1.5])
    assert Goal("ring", 30, "kl", 0.2).values(runs) == []
    assert Goal("banana", 20, "kl", 0.2).values(runs) == []


def test_command_line_keeps_runs(tmp_path, monkeypatch, capsys):
    def start(*arguments):
        monkeypatch.setattr(sys, "argv", ["static_targets", "--out", str(tmp_path), "--updates", "1", "2", *arguments])
        runpy.run_module("experiments.distributions.static_targets", run_name="__main__")
        return capsys.readouterr().out

    start("--target", "unequal_modes", "--method", "true", "--seed", "3")
    kept = (tmp_path / "runs/unequal_modes/true-3.json").read_bytes()
    shown = start("--target", "unequal_modes", "--method", "true", "sac", "--seed", "3")
    assert "1 of 2 results are kept" in shown
    assert "| unequal_modes | true | 1 |" in shown and "| unequal_modes | sac | 1 |" in shown and "not run" in shown
    assert (tmp_path / "runs/unequal_modes/true-3.json").read_bytes() == kept
    for name in ("report.md", "results.json", "kl_updates.png", "kl_time.png", "densities.png"):
        assert (tmp_path / name).stat().st_size > 0
