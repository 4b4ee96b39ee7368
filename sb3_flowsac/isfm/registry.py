"""The sampling distributions by their names: a new one is a file and a line here."""

from collections.abc import Callable

from sb3_flowsac.checks import choice
from sb3_flowsac.isfm.mixture import Mixture
from sb3_flowsac.isfm.newton import NewtonGaussian
from sb3_flowsac.isfm.sampling import CurrentPolicy, SamplingDistribution, UniformBox

# Bounds the weights, and brings a policy back that has left the box, where every weight of its own is zero
UNIFORM_SHARE = 0.125
SAMPLING_DISTRIBUTIONS: dict[str, Callable[[], SamplingDistribution]] = {
    "defensive": lambda: Mixture([CurrentPolicy(), UniformBox()], [1.0 - UNIFORM_SHARE, UNIFORM_SHARE]),
    "newton": lambda: Mixture([CurrentPolicy(), NewtonGaussian(), UniformBox()], [0.5, 0.375, UNIFORM_SHARE]),
    "policy": CurrentPolicy,
    "uniform": UniformBox,
}


def get_sampling_distribution(spec: str | SamplingDistribution) -> SamplingDistribution:
    """
    A sampling distribution by its name, or as given.

    :param spec: "newton" (1/2 the policy, 3/8 Newton's Gaussian, 1/8 uniform), "policy" (the paper's), "defensive" (7/8
        the policy, 1/8 uniform), "uniform", or an instance
    :raises ValueError: if the name is unknown
    :raises TypeError: if it is neither a name nor an instance
    """
    if isinstance(spec, SamplingDistribution):
        return spec
    if not isinstance(spec, str):
        raise TypeError(f"sampling_distribution must be a name or a SamplingDistribution, not {type(spec).__name__}")
    return SAMPLING_DISTRIBUTIONS[choice("sampling_distribution", spec, SAMPLING_DISTRIBUTIONS)]()
