"""What the Zoo is told: the algorithm, the environments, how to search for its settings, and where they are kept."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
from rl_zoo3.utils import ALGOS

from sb3_flowsac import FlowSAC  # the package registers the environments, too
from sb3_flowsac.zoo.search import convert_flowsac_params, sample_flowsac_params

ALGO = "flowsac"


def register() -> None:
    """Make FlowSAC, its search and the ``maxent_envs`` environments known to the Zoo; calling it again changes
    nothing."""
    ALGOS[ALGO] = FlowSAC
    HYPERPARAMS_SAMPLER[ALGO] = sample_flowsac_params
    HYPERPARAMS_CONVERTER[ALGO] = convert_flowsac_params


@contextmanager
def registered(algorithm: type[FlowSAC], settings: Mapping[str, Any] | None = None) -> Iterator[None]:
    """
    For a while, register a variant of FlowSAC, and a search that knows the settings which a trial starts from.

    :param algorithm: what the Zoo makes or loads as FlowSAC
    :param settings: arguments of FlowSAC, ``policy_kwargs`` as a dictionary
    """
    register()
    ALGOS[ALGO] = algorithm
    if settings is not None:
        HYPERPARAMS_SAMPLER[ALGO] = partial(sample_flowsac_params, settings=settings)
        HYPERPARAMS_CONVERTER[ALGO] = partial(convert_flowsac_params, settings=settings)
    try:
        yield
    finally:
        register()


def config_file() -> Path:
    """
    Find the settings of FlowSAC for the Zoo: inside an installed package, beside it in a checkout.

    :return: path of ``flowsac.yml``
    """
    package = Path(__file__).resolve().parent.parent
    installed = package / "zoo_configs" / "flowsac.yml"
    return installed if installed.is_file() else package.parent / "zoo_configs" / "flowsac.yml"
