"""Fixtures that several test files share."""

import os
from dataclasses import replace

# Before torch is imported, and for processes that tests start: two workers with two threads each are far slower
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import settings
from stable_baselines3.common import callbacks, evaluation
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.torch_layers import FlattenExtractor

import sb3_flowsac.evaluation.lqr as lqr_evaluation
from sb3_flowsac import FlowPolicy, FlowSAC
from sb3_flowsac.callbacks import lqr_optimality
from sb3_flowsac.evaluation.lqr import evaluate_policy_on_lqr

# The same examples in every run, and no clock: other processes may slow an example down
settings.register_profile("repository", deadline=None, derandomize=True)
settings.load_profile("repository")

TINY = {"learning_starts": 20, "batch_size": 16, "buffer_size": 1000, "n_proposals": 8, "seed": 0, "device": "cpu"}


@pytest.fixture(autouse=True)
def _seeded():
    """The same global random state before every test, whatever ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """The folder in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def short_runs(monkeypatch):
    """Trainings of 20 steps after the warm-up, small evaluations: pages and scripts run as they are, but for their
    length."""
    learn = OffPolicyAlgorithm.learn

    def learn_shortly(self, total_timesteps, *args, **kwargs):
        warm_up = 100 if self.learning_starts == "auto" else self.learning_starts
        return learn(self, min(total_timesteps, warm_up + 20), *args, **kwargs)

    def evaluate_shortly(*args, n_eval_episodes=1, **kwargs):
        return evaluate_policy(*args, n_eval_episodes=1, **kwargs)

    def compare_shortly(policy, solution, settings):
        small = replace(settings, n_rollouts=20, n_states=min(settings.n_states, 20), n_actions=100)
        return evaluate_policy_on_lqr(policy, solution, small)

    monkeypatch.setattr(OffPolicyAlgorithm, "learn", learn_shortly)
    for module in (lqr_evaluation, lqr_optimality):
        monkeypatch.setattr(module, "evaluate_policy_on_lqr", compare_shortly)
    for module in (evaluation, callbacks):
        monkeypatch.setattr(module, "evaluate_policy", evaluate_shortly)
    registered = dict(gym.registry)
    yield
    plt.close("all")
    gym.registry.clear()
    gym.registry.update(registered)


@pytest.fixture
def perturb():
    """Add seeded normal noise to every parameter of a module: new fields start at zero, which tests nothing."""

    def add_noise(module, scale=0.1, seed=1):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                noise = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
                parameter.add_(scale * noise.to(parameter.dtype))
        return module

    return add_noise


@pytest.fixture
def make_model():
    """A FlowSAC with tiny networks that starts to learn after a few steps."""

    def make(env, policy="FlowPolicy", policy_kwargs=None, **kwargs):
        policy_kwargs = {"net_arch": [16], **(policy_kwargs or {})}
        return FlowSAC(policy, env, policy_kwargs=policy_kwargs, **{**TINY, **kwargs})

    return make


@pytest.fixture
def weighted_proposals():
    """The proposals and weights of a model's improvement step in given observations."""

    def weigh(model, observations, ent_coef):
        return model.weigh_proposals(model.actor.distribution(observations), observations, ent_coef)[:2]

    return weigh


class DoubleExtractor(FlattenExtractor):
    """Features in double precision: with it a policy computes in double throughout."""

    def forward(self, observations):
        return super().forward(observations).double()


@pytest.fixture
def make_policy(perturb):
    """A policy with a non-trivial flow for three-dimensional observations, by default in double precision."""

    def make(low=(-1.0,), high=(1.0,), scale=0.02, double=True, hidden=16, **kwargs):
        torch.manual_seed(0)
        policy = FlowPolicy(
            spaces.Box(-np.inf, np.inf, (3,)),
            spaces.Box(np.array(low, np.float32), np.array(high, np.float32)),
            lambda _: 1e-3,
            **{
                "net_arch": [hidden],
                "features_extractor_class": DoubleExtractor if double else FlattenExtractor,
                **kwargs,
            },
        )
        perturb(policy.actor, scale)
        policy.actor.load_state_dict(policy.actor.state_dict())
        return policy.double() if double else policy

    return make
