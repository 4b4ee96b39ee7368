"""A flow as the policy of soft policy iteration on an LQR: its proposals, its improvement and the Gaussian nearest to
it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from maxent_envs import LinearGaussian, LQRProblem, derived_action_bound
from maxent_envs.lqr.bounds import SPREAD_MULTIPLE
from maxent_envs.lqr.env import observation
from maxent_envs.validation import FloatArray
from maxent_envs.vector_state import unbounded_space
from sb3_flowsac.algorithm.actor import FlowActor
from sb3_flowsac.algorithm.density import in_parts
from sb3_flowsac.checks import integer, positive
from sb3_flowsac.evaluation.lqr import EvaluationSettings
from sb3_flowsac.evaluation.policies import StochasticPolicy
from sb3_flowsac.flow import FlowDistribution
from sb3_flowsac.isfm import effective_sample_size, isfm_loss, self_normalize

# Arguments of FlowActor. At the start the flow is as wide as the optimum's actions are over all states
ACTOR_SETTINGS: dict[str, Any] = {
    "net_arch": [64, 64],
    "activation_fn": nn.SiLU,  # means that are linear in the state come sooner than with rectifiers
    "squash_output": False,
    "base": "gaussian",
    "field": "structured",
    "ode_steps": 2,
    "log_std_init": -math.log(SPREAD_MULTIPLE),
}
SPI_EVALUATION = EvaluationSettings(n_rollouts=500, horizon=100, n_states=100, n_actions=4000, seed=1)
FIELD_SHARE = (
    0.03  # of the learning rate: the field's regression is noise where the target is the base's own kind, a Gaussian
)

Act = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class SPISettings:
    """
    Size of a soft policy iteration with a flow.

    :param n_iterations: number of improvements
    :param n_steps: gradient steps of each
    :param n_states: visited states on which the flow is improved
    :param batch_size: how many of them a gradient step uses
    :param n_proposals: proposals in each of these, drawn from the flow itself, at least 2
    :param learning_rate: Adam's at the start of the first improvement. In each it falls to zero, and the i-th starts at
        1/i of it, as later improvements have less to change
    :param n_fit_actions: actions in each visited state from which gain and covariance are fitted, at least 2
    :param evaluation: size of the last policy's comparison with the optimum
    :raises ValueError: if a number is out of range
    """

    n_iterations: int = 6
    n_steps: int = 200
    n_states: int = 4096
    batch_size: int = 256
    n_proposals: int = 16
    learning_rate: float = 5e-3
    n_fit_actions: int = 128
    evaluation: EvaluationSettings = SPI_EVALUATION

    def __post_init__(self) -> None:
        minima = {"n_iterations": 1, "n_steps": 1, "n_states": 1, "batch_size": 1, "n_proposals": 2, "n_fit_actions": 2}
        for name, minimum in minima.items():
            integer(name, getattr(self, name), minimum)
        positive("learning_rate", self.learning_rate)


class FlowLQRPolicy:
    """
    A flow over an LQR's actions, not squashed, as a ``StochasticPolicy``.

    :param problem: the problem
    :param alpha: the temperature, from which the unit of the actions is derived
    """

    def __init__(self, problem: LQRProblem, alpha: float) -> None:
        observations = unbounded_space(problem.n_states)
        bound = derived_action_bound(problem, alpha)
        self.action_space = spaces.Box(-bound, bound, dtype=np.float64)
        self.scale = bound
        self.actor = FlowActor(
            observations,
            self.action_space,
            features_extractor=FlattenExtractor(observations),
            features_dim=problem.n_states,
            **ACTOR_SETTINGS,
        )
        nn.init.zeros_(self.actor.flow.base.head.weight)  # the iteration starts without control
        self.device = self.actor.device

    def distribution(self, states: FloatArray) -> FlowDistribution:
        """
        The flow in each of a batch of states, in units of ``scale``.

        :param states: states of the LQR, (batch, n_states)
        :return: the flow over latents
        """
        return self.actor.distribution(torch.as_tensor(observation(states), device=self.device))

    def sample(self, states: FloatArray, n: int, generator: torch.Generator) -> tuple[FloatArray, FloatArray]:
        """
        Draw actions, before any clipping, with their log-density.

        :param states: states of the LQR, (batch, n_states)
        :param n: number of actions in each state
        :param generator: source of the noise
        :return: actions, (batch, n, n_inputs), and log-densities, (batch, n)
        """
        with torch.no_grad():
            policy = self.distribution(states)
            draws = in_parts(policy, policy.noise(n, generator), policy.push_with_log_prob)
        actions, log_prob = (torch.cat(found, dim=1).double().cpu().numpy() for found in zip(*draws, strict=True))
        return actions * self.scale, log_prob - np.log(self.scale).sum()


def improve(
    policy: FlowLQRPolicy, target: LinearGaussian, states: FloatArray, settings: SPISettings, iteration: int = 1
) -> float:
    """
    Soft policy improvement (equation 4) by ISFM (equation 9): move the flow towards exp(Q(x, .) / alpha) / Z(x).

    Inputs have no bound, as in Lemma 1: the weights know no Box. Draws from torch's global generator.

    :param policy: the flow, changed in place
    :param target: the policy whose exact soft Q-function is meant
    :param states: states at which to improve, (n, n_states)
    :param settings: number of steps and their size
    :param iteration: number of the improvement, from 1: sets its learning rate
    :return: effective sample size of the last step's weights, as a share of the proposals
    """
    optimizer = _optimizer(policy.actor, settings.learning_rate / iteration)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.n_steps)
    for _ in range(settings.n_steps):
        batch = states[torch.randint(len(states), (settings.batch_size,)).numpy()]
        distribution = policy.distribution(batch)
        with torch.no_grad():
            latents, log_density = distribution.sample_with_log_prob(settings.n_proposals, antithetic=True)
            q_values = target.q_value(batch[:, None], latents.double().numpy() * policy.scale)
            # In double precision: Q / alpha is large where the temperature is low, and only its differences count
            weights = self_normalize(torch.as_tensor(q_values / target.alpha) - log_density).to(latents)
        loss = isfm_loss(distribution, latents, weights)
        optimizer.zero_grad()
        (loss.flow + loss.base).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return float(effective_sample_size(weights).mean()) / settings.n_proposals


def _optimizer(actor: FlowActor, learning_rate: float) -> torch.optim.Optimizer:
    field = list(actor.flow.field.parameters())
    of_field = {id(parameter) for parameter in field}
    others = [parameter for parameter in actor.parameters() if id(parameter) not in of_field]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": field, "lr": FIELD_SHARE * learning_rate}]
    return torch.optim.Adam(groups, learning_rate, betas=(0.9, 0.99))


def visited_states(problem: LQRProblem, act: Act, n: int, rng: np.random.Generator) -> FloatArray:
    """
    Independent states of a policy's discounted visitation: x_k of a rollout, P(k) = (1 - gamma) gamma^k.

    The improvement of the soft return is an expectation over this distribution (of the improved policy): it weighs an
    error as the return does, and holds both the large first states and the small later ones.

    :param problem: the problem
    :param act: draws an action in each of a batch of states
    :param n: number of states, each of a rollout of its own
    :param rng: source of times, first states and process noise
    :return: states, (n, n_states)
    """
    last = rng.geometric(1.0 - problem.gamma, n) - 1
    states = problem.initial_state(rng.standard_normal((n, problem.n_states)))
    for step in range(last.max()):
        moving = last > step
        states[moving] = problem.next_state(
            states[moving], act(states[moving]), rng.standard_normal((moving.sum(), problem.n_states))
        )
    return states


def fit_gaussian(
    policy: StochasticPolicy, states: FloatArray, n_actions: int, generator: torch.Generator
) -> tuple[FloatArray, FloatArray]:
    """
    The linear Gaussian policy N(-K x, Sigma) nearest to a policy, in states given.

    :param policy: the policy
    :param states: states that span the state space, (batch, n_states)
    :param n_actions: number of actions drawn in each, at least 2
    :param generator: source of the actions' noise
    :return: K, the linear regression of the mean actions, and Sigma, the average of the actions' covariances
    """
    actions, _ = policy.sample(states, n_actions, generator)
    means = actions.mean(axis=1)
    centred = (actions - means[:, None]).reshape(-1, means.shape[1])
    Sigma = centred.T @ centred / (len(states) * (n_actions - 1))
    return -np.linalg.lstsq(states, means, rcond=None)[0].T, Sigma
