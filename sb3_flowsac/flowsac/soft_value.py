"""The soft value of next states, the part of a gradient step that ``torch.compile`` makes much cheaper."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_flowsac.flowsac.actor import FlowActor
from sb3_flowsac.flowsac.critics import Critic


class SoftValue(NamedTuple):
    """Values (batch, 1), and the scaled actions (batch, n, dim) and log-densities (batch, n) that they average over."""

    values: torch.Tensor
    actions: torch.Tensor
    log_prob: torch.Tensor


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


class CompiledSoftValue:
    """
    ``soft_value`` compiled by ``torch.compile`` when it is first called, with torch's usual random numbers.

    If that fails, for want of a C++ compiler or because of a network that cannot be compiled, a warning says why, and
    the value is computed without.
    """

    def __init__(self) -> None:
        self._function: Callable[..., SoftValue] = torch.compile(soft_value, options={"fallback_random": True})

    def __call__(self, actor: FlowActor, critic: Critic, obs: PyTorchObs, n: int, ent_coef: torch.Tensor) -> SoftValue:
        if self._function is soft_value:
            return soft_value(actor, critic, obs, n, ent_coef)
        try:
            return self._function(actor, critic, obs, n, ent_coef)
        except Exception as error:  # of many kinds; one of the value's own comes again
            value = soft_value(actor, critic, obs, n, ent_coef)
            warnings.warn(f"torch_compile=True: compilation failed, training goes on without it: {error}", stacklevel=2)
            self._function = soft_value
            return value
