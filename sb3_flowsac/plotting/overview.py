"""All that can be drawn of a policy in a few states."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from maxent_envs import LQRProblem, Target
from sb3_flowsac.algorithm import FlowPolicy, FlowSAC
from sb3_flowsac.checks import integer
from sb3_flowsac.evaluation.policies import normalized, temperature
from sb3_flowsac.plotting.density import action_density, density_against_target, draw
from sb3_flowsac.plotting.lqr import action_distribution_figure
from sb3_flowsac.plotting.paths import flow_paths
from sb3_flowsac.plotting.style import state_titles
from sb3_flowsac.plotting.weights import weights_histogram

OPTIMUM_SAMPLES = 500


def policy_figures(
    model: FlowSAC | FlowPolicy, obs: Any, task: Target | LQRProblem | None = None, n_states: int = 3
) -> dict[str, Figure]:
    """
    Draw a policy in a few states: the density of its actions, their paths, and of a model the importance weights.

    Of a task whose max-entropy optimum is known, the optimum beside the policy, too: a target's density (one or two
    action components), or an LQR's at the model's temperature.

    :param model: a model or its policy
    :param obs: a batch of observations as the environment gives them; a model's ``VecNormalize`` is applied
    :param task: what the environment poses, if it is one of these: ``BoltzmannBandit-v0``'s target, ``MaxEntLQR-v0``'s
        problem
    :param n_states: in how many of these states actions are drawn, evenly spaced; the weights are those of all
    :return: figures by name: "action_density", "flow_paths", "weights", "against_target", "against_optimum"
    :raises ValueError: if the number is out of range
    """
    few = evenly_spaced(obs, integer("n_states", n_states, 1))
    policy, seen = (model.policy, normalized(model, few)) if isinstance(model, FlowSAC) else (model, few)
    titles = state_titles(few, len(next(iter(few.values())) if isinstance(few, dict) else few))
    figures = {
        "action_density": action_density(policy, seen, titles=titles),
        "flow_paths": flow_paths(policy, seen, titles=titles),
    }
    if isinstance(model, FlowSAC):
        figures["weights"] = weights_histogram(model, normalized(model, obs))
    if isinstance(task, LQRProblem) and isinstance(model, FlowSAC):
        row = task.solve(temperature(model)), np.asarray(few, dtype=float), draw(policy, seen, OPTIMUM_SAMPLES, seed=0)
        figures["against_optimum"] = action_distribution_figure([row])
    if isinstance(task, Target) and task.action_dim <= 2:
        states = np.asarray(few, dtype=float)
        figures["against_target"] = density_against_target(
            policy, seen, lambda _, actions: task.log_density(states, actions)
        )
    return figures


def evenly_spaced(obs: Any, n: int) -> Any:
    """At most n of a batch of observations."""
    if isinstance(obs, dict):
        return {key: evenly_spaced(value, n) for key, value in obs.items()}
    return obs[np.linspace(0, len(obs) - 1, min(n, len(obs))).astype(int)]
