"""Importance sampling flow matching: proposals, weights and loss. Knows ``flow``, not Stable-Baselines3."""

from sb3_flowsac.isfm.improvement import Draws, Improvement
from sb3_flowsac.isfm.loss import ISFMLoss, flow_matching_loss, isfm_loss, scale_of_base
from sb3_flowsac.isfm.mixture import Mixture
from sb3_flowsac.isfm.newton import NewtonGaussian
from sb3_flowsac.isfm.registry import get_sampling_distribution
from sb3_flowsac.isfm.sampling import CurrentPolicy, Proposal, SamplingDistribution, UniformBox
from sb3_flowsac.isfm.weights import (
    effective_sample_size,
    renyi_divergence,
    resample,
    self_normalize,
    tempered_weights,
    weight_statistics,
)

__all__ = [
    "CurrentPolicy",
    "Draws",
    "ISFMLoss",
    "Improvement",
    "Mixture",
    "NewtonGaussian",
    "Proposal",
    "SamplingDistribution",
    "UniformBox",
    "effective_sample_size",
    "flow_matching_loss",
    "get_sampling_distribution",
    "isfm_loss",
    "renyi_divergence",
    "resample",
    "scale_of_base",
    "self_normalize",
    "tempered_weights",
    "weight_statistics",
]
