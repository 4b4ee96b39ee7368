"""The README.md beside a saved policy: a model card, with the front matter that the Hugging Face hub reads."""

from collections.abc import Mapping

import numpy as np
from stable_baselines3.common.utils import get_system_info

from sb3_flowsac.algorithm import FlowPolicy
from sb3_flowsac.version import __version__

Results = Mapping[str, str | float]
"""What a model card says of a policy's results: values by name, such as {"mean return, Pendulum-v1": "-151 ± 90"}."""

CARD = """\
---
library_name: stable-baselines3
tags:
- deep-reinforcement-learning
- reinforcement-learning
- stable-baselines3
- sb3-flowsac
---

# {name} of FlowSAC

A policy for Stable-Baselines3 that is a continuous normalizing flow. It was trained with FlowSAC of `sb3-flowsac`: soft
actor-critic with importance sampling flow matching ([arXiv 2512.23870](https://arxiv.org/abs/2512.23870)).

| | |
| --- | --- |
| observations | `{observation_space}` |
| actions | `{action_space}`, {squashed} |

## Use

```python
from sb3_flowsac import load_policy

policy = load_policy("folder")  # of this file; from the hub: huggingface_hub.snapshot_download("user/repository")
action, _ = policy.predict(observation, deterministic=True)
```

`config.json` and `model.safetensors` hold names and numbers, no pickles. Observations that were normalised in training
must be normalised alike.
{results}
## Versions

| | |
| --- | --- |
{versions}
"""


def model_card(policy: FlowPolicy, results: Results | None = None) -> str:
    """
    Describe a policy.

    :param policy: the policy
    :param results: values by name, for a table; ``None`` for no table
    :return: Markdown with front matter
    :raises ValueError: if the results are not texts or numbers by name
    """
    allowed = str | int | float | np.number
    if results and not (
        isinstance(results, Mapping)
        and all(isinstance(name, str) and isinstance(value, allowed) for name, value in results.items())
    ):
        raise ValueError(f"results must be a dictionary of texts or numbers by name, got {results!r}")
    system, _ = get_system_info(print_info=False)
    versions = {name: value for name, value in system.items() if name not in ("OS", "GPU Enabled")}  # of the machine
    return CARD.format(
        name=type(policy).__name__,
        observation_space=_cell(policy.observation_space),
        action_space=_cell(policy.action_space),
        squashed="squashed by tanh" if policy.squash_output else "clipped to the Box",
        results=f"\n## Results\n\n| | |\n| --- | --- |\n{_rows(results)}\n" if results else "",
        versions=_rows({"sb3-flowsac": __version__, **versions}),
    )


def _rows(values: Mapping[str, object]) -> str:
    return "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in values.items())


def _cell(value: object) -> str:
    """A value in one cell of a table."""
    return " ".join(str(value).split()).replace("|", "\\|")
