"""What figures depend on besides code and seeds."""

import inspect
import platform
from importlib.metadata import version

from sb3_flowsac import FlowPolicy, FlowSAC
from sb3_flowsac.flow import StructuredField
from sb3_flowsac.version import __version__

PACKAGES = ("stable-baselines3", "torch", "gymnasium", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Versions of this package, of Python and of the packages that figures depend on."""
    return {
        "sb3-flowsac": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def defaults() -> dict[str, str]:
    """FlowSAC's and FlowPolicy's arguments where a study does not name them, and the fields' units in 1, 2, 3
    dimensions."""
    return {
        "units": str([StructuredField.default_kwargs(dim)["units"] for dim in (1, 2, 3)]),
        **{
            f"{function.__name__}({name})": str(parameter.default)
            for function in (FlowSAC, FlowPolicy)
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.default is not parameter.empty
        },
    }
