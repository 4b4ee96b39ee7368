"""The options of a flow: what they mean, their defaults and what they may be."""

from typing import Any, Literal, get_args

import torch

from sb3_flowsac.checks import abridged, choice, integer, naming, number, positive
from sb3_flowsac.flow.base import LOG_SCALE_MAX, LOG_SCALE_MIN, GaussianBase, LinearBase, StandardBase
from sb3_flowsac.flow.flow import ConditionalFlow, Density
from sb3_flowsac.flow.mlp import MLPField
from sb3_flowsac.flow.ode import SOLVERS, Solver, time_grid
from sb3_flowsac.flow.structured import StructuredField
from sb3_flowsac.flow.velocity import VelocityField

BaseName = Literal["gaussian", "linear", "standard"]
FIELDS: dict[str, type[VelocityField]] = {"structured": StructuredField, "mlp": MLPField}
MAX_ODE_STEPS = 1000  # far above any use: each costs as much as all of a small network


def make_flow(
    features_dim: int,
    dim: int,
    *,
    base: BaseName = "gaussian",
    log_std_init: float = 0.0,
    field: str | type[VelocityField] = "structured",
    field_kwargs: dict[str, Any] | None = None,
    ode_steps: int = 5,
    ode_solver: str | Solver = "midpoint",
    ode_grid_power: float = 1.0,
    density: Density = "exact",
) -> ConditionalFlow:
    """
    A new flow. Its attribute ``options`` holds the arguments, defaults included:
    ``make_flow(features_dim, dim, **flow.options)`` makes another of the same shape.

    :param features_dim: size of the state's features
    :param dim: dimension of the samples
    :param base: "gaussian", a state-conditional Gaussian with the flow in its whitened coordinates; "linear", the same
        with a mean linear in the features and one covariance, see ``LinearBase``; or "standard", the paper's N(0, I)
    :param log_std_init: logarithm of the base's standard deviation at the start, in [-6, 1], for "linear" in [-7, 2]
    :param field: "structured" (closed-form divergence, see ``StructuredField``), "mlp" (see ``MLPField``) or a class of
        one's own, see ``VelocityField``
    :param field_kwargs: keyword arguments of the field, such as ``{"units": 32}`` for the structured one
    :param ode_steps: number of solver steps from noise to sample, at least 1
    :param ode_solver: "midpoint" (the paper's RK2), "heun", "rk4", "euler" or a ``Solver``
    :param ode_grid_power: 1 for uniform steps, above 1 for steps that get finer towards the sample, see ``time_grid``
    :param density: "exact", the density of the samples that the discrete steps produce, or "trace", the paper's
        equation 6 by the solver's quadrature, which is exact only as the number of steps grows
    :raises ValueError: if an argument is out of range
    :raises TypeError: if an argument is of the wrong kind, or ``field_kwargs`` do not fit the field
    """
    choice("base", base, get_args(BaseName))
    slack = 1.0 if base == "gaussian" else 0.0  # nearer to its bounds the Gaussian base would start elsewhere
    log_std_init = number("log_std_init", log_std_init, LOG_SCALE_MIN + slack, LOG_SCALE_MAX - slack)
    field_class = _field_class(field)
    if not isinstance(field_kwargs, dict | None):
        raise TypeError(f"field_kwargs must be a dictionary or None, got {abridged(field_kwargs)}")
    field_kwargs = {**field_class.default_kwargs(dim), **(field_kwargs or {})}
    ode_steps = integer("ode_steps", ode_steps, 1, MAX_ODE_STEPS)
    ode_grid_power = positive("ode_grid_power", ode_grid_power)
    with naming("ode_solver must be a Solver or a name"):
        solver = ode_solver if isinstance(ode_solver, Solver) else SOLVERS[choice("ode_solver", ode_solver, SOLVERS)]
    choice("density", density, get_args(Density))
    distribution: StandardBase | GaussianBase | LinearBase = StandardBase(dim)
    if base != "standard":
        distribution = (GaussianBase if base == "gaussian" else LinearBase)(features_dim, dim, log_std_init)
    with naming(f"field_kwargs={abridged(field_kwargs)} do not fit {field_class.__name__}", TypeError, TypeError):
        velocity_field = field_class(features_dim, dim, affine=base == "standard", **field_kwargs)
    flow = ConditionalFlow(distribution, velocity_field, solver, time_grid(ode_steps, ode_grid_power), density)
    if field_class not in FIELDS.values():
        _check_velocity(velocity_field, features_dim, dim)
    flow.options = {
        "base": base,
        "log_std_init": log_std_init,
        "field": field,
        "field_kwargs": field_kwargs,
        "ode_steps": ode_steps,
        "ode_solver": ode_solver,
        "ode_grid_power": ode_grid_power,
        "density": density,
    }
    return flow


def _field_class(field: str | type[VelocityField]) -> type[VelocityField]:
    if isinstance(field, type) and issubclass(field, VelocityField):
        return field
    if isinstance(field, str) and field in FIELDS:
        return FIELDS[field]
    raise ValueError(
        f"field must be one of {', '.join(sorted(FIELDS))} or a subclass of VelocityField; got {abridged(field)}"
    )


def _check_velocity(field: VelocityField, features_dim: int, dim: int) -> None:
    """Ask a field of the user's own all that a flow asks, in two states with three points each."""
    batch, n, name = 2, 3, type(field).__name__
    x, expected = torch.zeros(batch, n, dim), (batch, n, dim)
    rule = f"field must be a class whose forward gives a Velocity, a deterministic function of x and t, not {name}"
    with naming(rule), torch.no_grad():
        velocity = field(torch.zeros(batch, features_dim))
        v, (_, divergence), (_, local) = velocity(x, 0.5), velocity.divergence(x, 0.5), velocity.linearise(x, 0.5)
        found = tuple(v.shape), tuple(divergence.shape), tuple(velocity.jacobian(local).shape)
    if found != (expected, expected[:2], (*expected, dim)):
        raise ValueError(
            f"field must be a class whose velocity, divergence and Jacobian have shapes {expected}, {expected[:2]} and "
            f"{(*expected, dim)} for {batch} states and {n} points, got {found} from {name}"
        )
