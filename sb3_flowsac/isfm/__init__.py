"""Importance sampling flow matching: proposals, weights and loss. Knows ``flow``, not Stable-Baselines3."""

from sb3_flowsac.isfm.loss import ISFMLoss, flow_matching_loss, isfm_loss
from sb3_flowsac.isfm.proposals import (
    CurrentPolicy,
    Mixture,
    SamplingDistribution,
    UniformBox,
    defensive_policy,
    get_sampling_distribution,
)
from sb3_flowsac.isfm.weights import effective_sample_size, renyi_divergence, resample, self_normalize

__all__ = [
    "CurrentPolicy",
    "ISFMLoss",
    "Mixture",
    "SamplingDistribution",
    "UniformBox",
    "defensive_policy",
    "effective_sample_size",
    "flow_matching_loss",
    "get_sampling_distribution",
    "isfm_loss",
    "renyi_divergence",
    "resample",
    "self_normalize",
]
