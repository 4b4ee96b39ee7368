"""Velocity fields, their integration and their densities. Pure torch; knows nothing of reinforcement learning."""

from sb3_flowsac.flow.base import (
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    Gaussian,
    GaussianBase,
    LinearBase,
    StandardBase,
    standard_normal_log_prob,
)
from sb3_flowsac.flow.flow import DENSITIES, ConditionalFlow, Density, FlowDistribution
from sb3_flowsac.flow.make import FIELDS, BaseName, make_flow
from sb3_flowsac.flow.mlp import MLPField
from sb3_flowsac.flow.ode import SOLVERS, Solver, Transport, integrate, invert, time_grid
from sb3_flowsac.flow.paths import CondOTPath, NormalizedPath
from sb3_flowsac.flow.structured import StructuredField
from sb3_flowsac.flow.transforms import ActionTransform, Identity, Tanh
from sb3_flowsac.flow.velocity import AutogradVelocity, Velocity, VelocityField

__all__ = [
    "DENSITIES",
    "FIELDS",
    "LOG_SCALE_MAX",
    "LOG_SCALE_MIN",
    "SOLVERS",
    "ActionTransform",
    "AutogradVelocity",
    "BaseName",
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
    "Transport",
    "Velocity",
    "VelocityField",
    "integrate",
    "invert",
    "make_flow",
    "standard_normal_log_prob",
    "time_grid",
]
