"""The importance weights with which ISFM improves a policy."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.evaluation.policies import evaluation_mode
from sb3_flowsac.isfm import effective_sample_size
from sb3_flowsac.plotting.style import LEARNT, OPTIMAL, panels

SMALLEST = 1e-3  # of N times a weight: what is below is shown there


def weights_histogram(model: FlowSAC, obs: Any, seed: int = 0) -> Figure:
    """
    The weights that the model's next policy improvement would give its proposals in given states.

    Left: N times each weight, on a logarithmic scale; 1 (dashed) is the weight that all have where the proposals fit
    the target, and weights under 0.001 are counted there. Right: the effective sample size of each state as a share of
    N; 1/N (dotted) is its floor.

    :param model: the model
    :param obs: a batch of observations as ``predict`` takes them; the more, the smoother
    :param seed: seed of the proposals; the global generators are left alone
    :return: the figure
    """
    observations = model.policy.obs_to_tensor(obs)[0]
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.no_grad(), evaluation_mode(model.policy), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        policy = model.actor.distribution(observations)
        weights = model.weigh_proposals(policy, observations, model.entropy_coefficient())[1]
    n = weights.shape[1]
    share = effective_sample_size(weights) / n
    relative = np.maximum(n * weights.cpu().numpy().ravel(), SMALLEST)
    figure, ((left, right),) = panels(1, 2)
    left.hist(relative, bins=np.geomspace(SMALLEST, n, 40).tolist(), color=LEARNT, alpha=0.6)
    left.axvline(1.0, color=OPTIMAL, linestyle="--")
    left.set(xscale="log", xlabel=f"N times the weight (N = {n})", ylabel="proposals")
    right.hist(share.cpu().numpy(), bins=np.linspace(0.0, 1.0, 26).tolist(), color=LEARNT, alpha=0.6)
    right.axvline(1.0 / n, color=OPTIMAL, linestyle=":")
    right.set(
        xlim=(0.0, 1.0), xlabel="effective sample size / N", ylabel="states", title=f"mean {share.mean().item():.0%}"
    )
    return figure
