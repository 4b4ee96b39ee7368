"""Runs on BoltzmannBandit-v0: how far is the learnt policy from the target, and is it the actor or the critic?"""

import time

import gymnasium as gym
import numpy as np
import torch
from scipy.special import logsumexp
from stable_baselines3.common.callbacks import BaseCallback

from experiments.distributions.multimodal.crescents import Crescents
from experiments.distributions.multimodal.peers import Model, draw, make
from experiments.runner.tasks import Result
from maxent_envs.targets import TARGETS, Target
from sb3_flowsac import FlowSAC

OWN = {**TARGETS, "crescents": Crescents}
TEMPERATURE = 0.1
N_STATES, N_ACTIONS = 256, 256  # of the divergence
POINTS = {1: 2000, 2: 101}  # of the quadrature in each dimension of the action
SHOWN_SEED, SHOWN_ACTIONS = 7, 1500  # the state of the picture, and the points in it


class Progress(BaseCallback):
    """The divergence from the target before the last step of training, by draws of its own."""

    def __init__(self, target: Target, every: int, last: int) -> None:
        super().__init__()
        self.target, self.every, self.last = target, every, last
        self.curve: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0 and self.num_timesteps < self.last:
            self.curve.append((self.num_timesteps, divergence(self.model, self.target)[0]))
        return True


def train(algo: str, target: str, seed: int, steps: int) -> Result:
    """
    Train one model and compare it with the target.

    :param algo: key of ``peers.NAMES``
    :param target: key of ``OWN``
    :param seed: of the run
    :param steps: environment steps
    :return: KL(pi || p) in nats at the end and on the way, by the same estimate; masses of the modes, the share of
        actor and critic in it (FlowSAC alone), a state and actions drawn in it
    """
    wanted = OWN[target]()
    env = gym.make("BoltzmannBandit-v0", target=wanted, temperature=TEMPERATURE)
    model = make(algo, env, ent_coef=TEMPERATURE, seed=seed)
    progress, start = Progress(wanted, max(1, steps // 10), steps), time.process_time()
    model.learn(steps, callback=progress, log_interval=1_000_000)
    kl, masses = divergence(model, wanted)
    state = wanted.sample_states(1, np.random.default_rng(SHOWN_SEED))
    return {
        "kl": kl,
        "curve": [*progress.curve, (steps, kl)],
        "masses": masses,
        **(actor_and_critic(model, wanted) if isinstance(model, FlowSAC) else {}),
        "state": state[0].tolist(),
        "actions": draw(model, state, SHOWN_ACTIONS, SHOWN_SEED)[0][0].round(4).tolist(),
        "processor_seconds": round(time.process_time() - start, 1),
    }


def divergence(model: Model, target: Target) -> tuple[float, list[float]]:
    """KL(pi || p) in nats, the mean over the target's states, and the mass of each mode under pi."""
    states = target.sample_states(N_STATES, np.random.default_rng(0))
    actions, log_prob = draw(model, states, N_ACTIONS, seed=0)
    kl = log_prob - target.log_density(states, actions)
    counts = np.bincount(target.mode_of(states, actions).ravel(), minlength=len(target.mode_masses))
    return float(kl.mean()), (counts / counts.sum()).tolist()


def actor_and_critic(model: FlowSAC, target: Target) -> dict[str, float]:
    """
    With pi_Q = exp(min Q / alpha) / Z by quadrature: KL(pi || pi_Q), what the actor leaves, and KL(pi_Q || p), the
    critic's.

    :param model: the trained model
    :param target: p
    """
    n = POINTS[target.action_dim]
    side = (np.arange(n) + 0.5) / n * 2.0 - 1.0
    grid = np.stack(np.meshgrid(*[side] * target.action_dim), axis=-1).reshape(-1, target.action_dim)
    states = target.sample_states(32, np.random.default_rng(1))
    points = np.repeat(grid[None], len(states), axis=0)
    log_weights = _smallest_q(model, states, points) / TEMPERATURE
    log_z = logsumexp(log_weights, axis=1, keepdims=True) + target.action_dim * np.log(2.0 / n)
    masses = np.exp(log_weights - logsumexp(log_weights, axis=1, keepdims=True))
    critic = (masses * (log_weights - log_z - target.log_density(states, points))).sum(1)
    actions, log_prob = draw(model, states, 512, seed=1)
    actor = log_prob - _smallest_q(model, states, actions) / TEMPERATURE + log_z
    return {"kl_of_actor": float(actor.mean()), "kl_of_critic": float(critic.mean())}


def _smallest_q(model: FlowSAC, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        observations, candidates = (torch.as_tensor(array, dtype=torch.float32) for array in (states, actions))
        values: np.ndarray = model.critic.value(model.critic.features(observations), candidates).double().numpy()
    return values
