"""Policy evaluation: the soft Bellman error, the part of a gradient step that ``torch.compile`` makes much cheaper."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from stable_baselines3.common.type_aliases import PyTorchObs, ReplayBufferSamples

from sb3_flowsac.algorithm.actor import FlowActor
from sb3_flowsac.algorithm.critics import Critic


class SoftValue(NamedTuple):
    """Values (batch, 1), and the scaled actions (batch, n, dim) and log-densities (batch, n) that they average over."""

    values: torch.Tensor
    actions: torch.Tensor
    log_prob: torch.Tensor


class BellmanError(NamedTuple):
    """The critics' loss, and without gradients the means of Q, of log pi and of the share of next actions out of the
    box."""

    loss: torch.Tensor
    q_value: torch.Tensor
    log_prob: torch.Tensor
    clip_fraction: torch.Tensor


def soft_value(actor: FlowActor, critic: Critic, obs: PyTorchObs, n: int, ent_coef: torch.Tensor) -> SoftValue:
    """
    The soft value V(s) = E[min Q(s, a) - alpha log pi(a|s)], averaged over n actions of the policy in each state.

    :param actor: the policy
    :param critic: critics, of which the smallest counts
    :param obs: observations of the states
    :param n: number of actions
    :param ent_coef: alpha
    """
    actions, log_prob = actor.action_log_prob(obs, n)
    # The environment would clip an unsquashed action to its box
    q_values = critic(obs, actions.clamp(-1.0, 1.0)).amin(0)
    return SoftValue((q_values - ent_coef * log_prob).mean(-1, keepdim=True), actions, log_prob)


def bellman_error(
    actor: FlowActor,
    critic: Critic,
    critic_target: Critic,
    batch: ReplayBufferSamples,
    gamma: float,
    n: int,
    ent_coef: torch.Tensor,
) -> BellmanError:
    """
    Squared error of the soft Bellman equation (1), half the mean over the batch, summed over the critics.

    :param actor: the policy that acts in the next states
    :param critic: critics, with gradients
    :param critic_target: critics of the next states' values
    :param batch: transitions; of several steps if it has discounts
    :param gamma: discount of transitions of one step
    :param n: number of next actions in each state
    :param ent_coef: alpha
    """
    with torch.no_grad():
        following = soft_value(actor, critic_target, batch.next_observations, n, ent_coef)
        discounts = gamma if batch.discounts is None else batch.discounts
        targets = batch.rewards + (1.0 - batch.dones) * discounts * following.values
    q_values = critic(batch.observations, batch.actions)
    loss = 0.5 * F.mse_loss(q_values, targets.T.expand_as(q_values)) * critic.n_critics
    clip_fraction = (following.actions.abs() > 1.0).float().mean()
    return BellmanError(loss, q_values.detach().mean(), following.log_prob.mean(), clip_fraction)


# The kernels are called from C++, which saves a tenth of a millisecond
OPTIONS: dict[str, Any] = {"fallback_random": True, "cpp_wrapper": True}


class CompiledBellmanError:
    """
    ``bellman_error`` compiled by ``torch.compile`` when it is first called, with torch's usual random numbers.

    If that fails, for want of a C++ compiler or because of a network that cannot be compiled, a warning says why, and
    the error is computed without.
    """

    def __init__(self) -> None:
        self._function: Callable[..., BellmanError] = torch.compile(bellman_error, options=OPTIONS)

    def __call__(self, *arguments: Any) -> BellmanError:
        """See ``bellman_error``."""
        if self._function is bellman_error:
            return bellman_error(*arguments)
        try:
            return self._function(*arguments)
        except Exception as error:  # of many kinds; one of the function's own comes again
            result = bellman_error(*arguments)
            warnings.warn(f"torch_compile=True: compilation failed, training goes on without it: {error}", stacklevel=2)
            self._function = bellman_error
            return result
