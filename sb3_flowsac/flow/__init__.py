"""Velocity fields, their integration and their densities. Pure torch; knows nothing of reinforcement learning."""

from sb3_flowsac.flow.base import (
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    Gaussian,
    GaussianBase,
    StandardBase,
    standard_normal_log_prob,
)
from sb3_flowsac.flow.fields import MLPField, StructuredField, VelocityField, default_units
from sb3_flowsac.flow.flow import DENSITIES, ConditionalFlow, Density, FlowDistribution
from sb3_flowsac.flow.ode import SOLVERS, Solver, Transport, Velocity, get_solver, integrate, invert, time_grid
from sb3_flowsac.flow.paths import CondOTPath, NormalizedPath
from sb3_flowsac.flow.transforms import ActionTransform, Identity, Tanh

__all__ = [
    "DENSITIES",
    "LOG_SCALE_MAX",
    "LOG_SCALE_MIN",
    "SOLVERS",
    "ActionTransform",
    "CondOTPath",
    "ConditionalFlow",
    "Density",
    "FlowDistribution",
    "Gaussian",
    "GaussianBase",
    "Identity",
    "MLPField",
    "NormalizedPath",
    "Solver",
    "StandardBase",
    "StructuredField",
    "Tanh",
    "Transport",
    "Velocity",
    "VelocityField",
    "default_units",
    "get_solver",
    "integrate",
    "invert",
    "standard_normal_log_prob",
    "time_grid",
]
