"""Policy evaluation: the soft Bellman error, the part of a gradient step that ``torch.compile`` makes much cheaper."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from sb3_flowsac.algorithm.actor import FlowActor
from sb3_flowsac.algorithm.critics import Critic, SoftTransitions


class BellmanError(NamedTuple):
    """
    The critics' loss, and without gradients the means of Q, of log pi of the next actions, and of the share of their
    components outside the Box.
    """

    critic_loss: torch.Tensor
    q_value: torch.Tensor
    log_prob: torch.Tensor
    clip_fraction: torch.Tensor


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
    The critics' loss in the soft Bellman equation (1), with next actions of the policy and their density by equation 6.

    :param actor: the policy that acts in the next states
    :param critic: critics, with gradients
    :param critic_target: critics of the next states' values
    :param batch: transitions; of several steps if it has discounts
    :param gamma: discount of transitions of one step
    :param n: number of next actions in each state
    :param ent_coef: alpha
    """
    next_actions, log_prob = actor.action_log_prob(batch.next_observations, n)
    transitions = SoftTransitions(
        observations=batch.observations,
        actions=batch.actions,
        rewards=batch.rewards,
        discounts=(1.0 - batch.dones) * (gamma if batch.discounts is None else batch.discounts),
        next_observations=batch.next_observations,
        next_actions=next_actions.clamp(-1.0, 1.0),  # the environment would clip an unsquashed action to its Box
        next_bonuses=-ent_coef * log_prob,
    )
    loss, q_value = critic.loss(critic_target, transitions)
    return BellmanError(loss, q_value, log_prob.mean(), (next_actions.abs() > 1.0).float().mean())


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

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()  # compiled code cannot be pickled, and is compiled again

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
