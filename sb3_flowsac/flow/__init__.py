"""Velocity fields, their integration and their densities. Pure torch; knows nothing of reinforcement learning."""

from sb3_flowsac.flow.base import (
    LOG_SCALE_MAX,
    Gaussian,
    GaussianBase,
    LinearBase,
    StandardBase,
    standard_normal_log_prob,
)
from sb3_flowsac.flow.flow import ConditionalFlow, Density, FlowDistribution
from sb3_flowsac.flow.make import FIELDS, make_flow
from sb3_flowsac.flow.mlp import MLPField
from sb3_flowsac.flow.ode import SOLVERS, Solver, integrate, invert, time_grid
from sb3_flowsac.flow.paths import CondOTPath, NormalizedPath
from sb3_flowsac.flow.structured import StructuredField
from sb3_flowsac.flow.transforms import ActionTransform, Identity, Tanh
from sb3_flowsac.flow.velocity import AutogradVelocity, Velocity, VelocityField

__all__ = [
    "FIELDS",
    "LOG_SCALE_MAX",
    "SOLVERS",
    "ActionTransform",
    "AutogradVelocity",
    "CondOTPath",
    "ConditionalFlow",
    "Density",
    "FlowDistribution",
    "Gaussian",
    "GaussianBase",
    "Identity",
    "LinearBase",
    "MLPField",
    "NormalizedPath",
    "Solver",
    "StandardBase",
    "StructuredField",
    "Tanh",
    "Velocity",
    "VelocityField",
    "integrate",
    "invert",
    "make_flow",
    "standard_normal_log_prob",
    "time_grid",
]
