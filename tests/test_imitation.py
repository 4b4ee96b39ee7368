"""Actors that are cloned from demonstrations, by flow matching or likelihood, and what learning leaves of the clone."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from sb3_flowsac import FlowSAC

SPREAD = 2.0  # standard deviation of the demonstrations


def demonstrated(observation):
    return 1.6 * observation[..., :1]


class Following(gym.Env):
    """What is demonstrated pays most. Observations are far from normalised."""

    observation_space = spaces.Box(-20.0, 20.0, (3,))
    action_space = spaces.Box(-64.0, 64.0, (1,))

    def _observe(self):
        self.observation = self.np_random.uniform(-20.0, 20.0, 3).astype(np.float32)
        return self.observation

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n_steps = 0
        return self._observe(), {}

    def step(self, action):
        reward = -float(np.square((action - demonstrated(self.observation)) / 20.0).sum())
        self.n_steps += 1
        return self._observe(), reward, False, self.n_steps == 10, {}


@pytest.fixture
def demonstrations():
    """256 transitions, with scaled actions as in any replay buffer."""
    env, rng = Following(), np.random.default_rng(0)
    buffer = ReplayBuffer(256, env.observation_space, env.action_space, device="cpu")
    obs, _ = env.reset(seed=0)
    for _ in range(256):
        action = (demonstrated(obs) + SPREAD * rng.standard_normal(1)).astype(np.float32)
        next_obs, reward, _, truncated, _ = env.step(action)
        buffer.add(obs, next_obs, action / 64.0, reward, truncated, [{"TimeLimit.truncated": truncated}])
        obs = env.reset()[0] if truncated else next_obs
    return buffer


@pytest.fixture
def model(make_model):
    """At the temperature at which the demonstrations are the optimum."""
    settings = {"gamma": 0.5, "ent_coef": 2.0 * (SPREAD / 20.0) ** 2, "learning_starts": 0, "batch_size": 64}
    return make_model(Following(), policy_kwargs={"net_arch": [32]}, n_proposals=16, **settings)


def by_flow_matching(model, batch):
    return model.actor.imitation_loss(batch.observations, batch.actions)


def by_likelihood(model, batch):
    model.policy.set_training_mode(True)
    return -model.policy.log_prob(batch.observations, 64.0 * batch.actions).mean()


def imitate(model, demonstrations, loss=by_flow_matching):
    model.actor.optimizer.zero_grad()
    loss(model, demonstrations.sample(64)).backward()
    model.actor.optimizer.step()


class KeepImitating(BaseCallback):
    """A step of imitation after each step of the environment, as in the how-to."""

    def __init__(self, demonstrations):
        super().__init__()
        self.demonstrations = demonstrations

    def _on_step(self):
        imitate(self.model, self.demonstrations)
        return True


def error(model, demonstrations):
    """Root mean square over the demonstrations, relative to what is demonstrated."""
    observations = demonstrations.observations[:, 0]
    expected = demonstrated(observations)
    found = model.predict(observations, deterministic=True)[0]
    return float(np.sqrt(np.square(found - expected).mean() / np.square(expected).mean()))


@pytest.mark.parametrize("loss", [by_flow_matching, by_likelihood])
def test_a_clone_survives_the_learning_that_follows(model, demonstrations, loss):
    first = error(model, demonstrations)
    for _ in range(100):
        imitate(model, demonstrations, loss)
    cloned = error(model, demonstrations)
    assert cloned < 0.3 < 0.9 < first
    model.replay_buffer.extend(*_arrays(demonstrations))
    model.actor.requires_grad_(False)
    model.learn(100)  # the critics alone
    assert error(model, demonstrations) == cloned
    model.actor.requires_grad_(True)
    model.learn(80, callback=KeepImitating(demonstrations), reset_num_timesteps=False)
    assert error(model, demonstrations) < max(2.0 * cloned, 0.3)


def test_imitation_that_goes_on_keeps_the_clones_return(model, demonstrations, tmp_path):
    """Learning alone, with critics that know little yet, loses it. A still actor has a return of -8.5."""

    def mean_return(of):
        return evaluate_policy(of, Monitor(Following()), n_eval_episodes=20)[0]

    for _ in range(100):
        imitate(model, demonstrations)
    model.replay_buffer.extend(*_arrays(demonstrations))
    model.save(tmp_path / "clone")
    model.save_replay_buffer(tmp_path / "buffer")
    found = {"clone": mean_return(model)}
    for way, callback in (("imitating", KeepImitating(demonstrations)), ("alone", None)):
        learner = FlowSAC.load(tmp_path / "clone", env=Following(), device="cpu")
        learner.load_replay_buffer(tmp_path / "buffer")
        found[way] = mean_return(learner.learn(80, callback=callback))
    assert found["clone"] > -1.0 and found["imitating"] > -2.0 and found["alone"] < -20.0


def _arrays(buffer):
    """What ``ReplayBuffer.extend`` takes."""
    infos = [[{"TimeLimit.truncated": bool(timeout)}] for timeout in buffer.timeouts[:, 0]]
    return buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards, buffer.dones, infos


@pytest.mark.parametrize("loss", [by_flow_matching, by_likelihood])
def test_the_first_improvement_finds_the_clones_own_input_statistics(model, demonstrations, loss):
    """They start as none: if imitation left them so, the first batch of learning would change every prediction."""
    for _ in range(50):
        imitate(model, demonstrations, loss)
    cloned = error(model, demonstrations)
    model.actor.features(demonstrations.sample(64).observations, update_norm=True)
    assert error(model, demonstrations) < cloned + 0.1


@pytest.mark.filterwarnings("ignore:at .* of the actions")
def test_likelihood_at_the_default_steps_does_not_diverge(make_model):
    """The exact density of discrete steps has no bound where they fold space over, and a fit could go there."""
    rng = np.random.default_rng(0)
    observations = rng.uniform(-1.0, 1.0, (256, 3)).astype(np.float32)
    expected = 0.6 * observations[:, :2]
    actions = expected + 0.05 * rng.standard_normal((256, 2))

    class Plane(Following):
        action_space = spaces.Box(-1.0, 1.0, (2,))

    model, losses = make_model(Plane(), policy_kwargs={"net_arch": [64]}), []
    model.policy.set_training_mode(True)
    for _ in range(150):
        part = rng.integers(0, 256, 64)
        losses.append(-model.policy.log_prob(observations[part], actions[part]).mean())
        model.actor.optimizer.zero_grad()
        losses[-1].backward()
        model.actor.optimizer.step()
    entropy = 2.0 * (0.5 + np.log(0.05 * np.sqrt(2.0 * np.pi)))  # of the actions given the observation: -3.2
    assert entropy - 0.5 < np.median([loss.item() for loss in losses[-50:]]) < entropy + 2.0
    assert np.square(model.predict(observations, deterministic=True)[0] - expected).mean() < 0.05
