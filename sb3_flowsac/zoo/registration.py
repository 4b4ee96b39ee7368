"""What the Zoo is told: the algorithm, and how to search for its hyperparameters."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
from rl_zoo3.utils import ALGOS

from sb3_flowsac import FlowSAC  # the package registers the environments, too
from sb3_flowsac.zoo.search import convert_flowsac_params, sample_flowsac_params

ALGO = "flowsac"


class FlowSACInTrial(FlowSAC):
    """FlowSAC in a search: hyperparameters with which it diverges end the trial, not the search."""

    def learn(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().learn(*args, **kwargs)
        except FloatingPointError as error:
            raise ValueError(str(error)) from error  # for this the Zoo prunes a trial


def register(algorithm: Any = FlowSAC, settings: Mapping[str, Any] | None = None) -> None:
    """
    Make FlowSAC, its search and the ``maxent_envs`` environments known to the Zoo.

    :param algorithm: what the Zoo makes or loads
    :param settings: what each trial of a search starts from; by default the names that the Zoo notes in the study
    """
    ALGOS[ALGO] = algorithm
    HYPERPARAMS_SAMPLER[ALGO] = partial(sample_flowsac_params, settings=settings)
    HYPERPARAMS_CONVERTER[ALGO] = partial(convert_flowsac_params, settings=settings)
