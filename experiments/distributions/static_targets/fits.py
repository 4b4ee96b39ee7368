"""Actors fitted to a target, each with the optimiser and learning rate that its algorithm has by default."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import update_learning_rate
from torch.distributions import Normal

from experiments.distributions.static_targets.cases import Case
from maxent_envs import BoltzmannBanditEnv, Target
from sb3_flowsac import FlowSAC
from sb3_flowsac.algorithm.critics import Critic
from sb3_flowsac.flow import Tanh
from sb3_flowsac.isfm import isfm_loss
from sb3_flowsac.isfm.registry import SAMPLING_DISTRIBUTIONS

N_STATES = 128  # in each update
N_SAMPLES = 16  # in each state, for the fits that have no proposals

Batch = tuple[torch.Tensor, ...]


class ExactCritic(Critic):
    """
    Q(s, a) = alpha log p(a|s), which counts its evaluations.

    :param env: the environment whose spaces the model has, with p and alpha
    """

    def __init__(self, env: BoltzmannBanditEnv) -> None:
        super().__init__(
            env.observation_space,
            env.action_space,
            features_extractor=FlattenExtractor(env.observation_space),
            features_dim=env.target.state_dim,
            n_critics=1,
        )
        self.target, self.alpha = env.target, env.temperature
        self.evaluations = 0

    def q_values(self, features: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        self.evaluations += actions.shape[0] * actions.shape[1]
        values: torch.Tensor = self.alpha * self.target.log_density(features, actions)
        return values.unsqueeze(0)


class Fit(ABC):
    """
    An actor on its way to a target.

    :param case: the target
    :param seed: of the networks, the states and all draws
    """

    def __init__(self, case: Case, seed: int) -> None:
        self.target: Target = case.target
        self.env = BoltzmannBanditEnv(case.target, case.alpha)
        self.critic = ExactCritic(self.env)
        self.alpha = torch.tensor(case.alpha)
        self.rng = np.random.default_rng(seed)
        self.stats: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.progress_remaining = 1.0  # falls to 0 over the run, for schedules of the learning rate

    def states(self) -> torch.Tensor:
        """Fresh states for an update."""
        return torch.as_tensor(self.target.sample_states(N_STATES, self.rng), dtype=torch.float32)

    def batch(self) -> Batch:
        """What an update needs besides the critic and a user's run has at hand; not counted as the update's time."""
        return (self.states(),)

    @abstractmethod
    def update(self, *batch: torch.Tensor) -> None:
        """One update of the actor."""

    @abstractmethod
    def sample(self, states: np.ndarray, n: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Actions of the policy (batch, n, dim) and their log-density (batch, n)."""

    @abstractmethod
    def log_prob(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Log-density of given actions, (batch, n, dim) to (batch, n)."""


class ISFM(Fit):
    """FlowSAC's own improvement step, with its critic replaced by the exact one."""

    def __init__(self, case: Case, seed: int, **kwargs: Any) -> None:
        super().__init__(case, seed)
        kwargs = {"actor_batch_size": None, "isfm_interval": 1, **kwargs}  # all states, each time, as the others
        self.model = FlowSAC("FlowPolicy", self.env, ent_coef=case.alpha, seed=seed, device="cpu", **kwargs)
        self.model.critic = self.critic

    def update(self, *batch: torch.Tensor) -> None:
        update_learning_rate(self.model.actor.optimizer, self.model.lr_schedule(self.progress_remaining))
        self.improve(*batch)

    def improve(self, *batch: torch.Tensor) -> None:
        """A step of the actor's optimizer."""
        for name, value in self.model.improve_actor(*batch, self.alpha).items():
            self.stats[name].append(value)

    def sample(self, states: np.ndarray, n: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            actions, log_prob = self.model.policy.sample(states, n, generator)
        return actions.double().numpy(), log_prob.double().numpy()

    def log_prob(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.model.policy.log_prob(states, actions).double().numpy()


def match_flow(model: FlowSAC, states: torch.Tensor, u: torch.Tensor, weights: torch.Tensor) -> None:
    """A step of the actor's optimizer on ISFM's loss of weighed latents."""
    flow, base = isfm_loss(model.actor.distribution(states, update_norm=True), u, weights)
    model.actor.optimizer.zero_grad()
    (flow + base).backward()
    model.actor.optimizer.step()


class TrueSamples(ISFM):
    """The same actor and optimiser with samples of the target that weigh the same: the limit of what ISFM can reach."""

    def batch(self) -> Batch:
        states = self.states()
        samples = self.target.sample(states, N_SAMPLES, self.rng)
        return states, torch.as_tensor(samples, dtype=torch.float32)

    def improve(self, *batch: torch.Tensor) -> None:
        states, samples = batch
        u, weights = self.model.actor.transform.inverse(samples), torch.full(samples.shape[:2], 1.0 / N_SAMPLES)
        match_flow(self.model, states, u, weights)


class Gaussian(Fit):
    """The actor of SB3's SAC: a squashed Gaussian with independent coordinates, reparameterised: alpha log pi - Q by
    Adam."""

    def __init__(self, case: Case, seed: int, **kwargs: Any) -> None:
        super().__init__(case, seed)
        self.actor = SAC("MlpPolicy", self.env, ent_coef=case.alpha, seed=seed, device="cpu", **kwargs).actor
        self.transform = Tanh()

    def update(self, *batch: torch.Tensor) -> None:
        (states,) = batch
        mean, log_std, _ = self.actor.get_action_dist_params(states)
        of_samples = (parameter.repeat_interleave(N_SAMPLES, dim=0) for parameter in (mean, log_std))
        actions, log_prob = self.actor.action_dist.log_prob_from_params(*of_samples)
        q_values = self.critic.q_values(states, actions.view(len(states), N_SAMPLES, -1))[0]
        loss = (self.alpha * log_prob.view_as(q_values) - q_values).mean()
        self.actor.optimizer.zero_grad()
        loss.backward()
        self.actor.optimizer.step()

    def sample(self, states: np.ndarray, n: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
        gaussian = self._gaussian(states)
        shape = (len(states), n, self.target.action_dim)
        latents = gaussian.mean + gaussian.stddev * torch.randn(shape, dtype=torch.float64, generator=generator)
        log_prob = gaussian.log_prob(latents).sum(-1) - self.transform.log_det(latents)
        return self.transform(latents).numpy(), log_prob.numpy()

    def log_prob(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        latents = self.transform.inverse(torch.as_tensor(actions))
        log_prob = self._gaussian(states).log_prob(latents).sum(-1) - self.transform.log_det(latents)
        return log_prob.numpy()

    def _gaussian(self, states: np.ndarray) -> Normal:
        """The Gaussian of latents, in double precision and without SB3's guard against logarithms of zero."""
        with torch.no_grad():
            mean, log_std, _ = self.actor.get_action_dist_params(torch.as_tensor(states, dtype=torch.float32))
        return Normal(mean.double().unsqueeze(1), log_std.double().unsqueeze(1).exp())


METHODS: dict[str, Callable[[Case, int], Fit]] = {
    "isfm": ISFM,
    "true": TrueSamples,
    "sac": Gaussian,
    "sac_fast": partial(Gaussian, learning_rate=1e-3),
    "isfm_32": partial(ISFM, n_proposals=32),
    **{name: partial(ISFM, sampling_distribution=name) for name in SAMPLING_DISTRIBUTIONS},
}
