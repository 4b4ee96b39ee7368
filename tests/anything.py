"""What the fuzz tests give to an argument: values of every kind, likely ones among them, and the check of the
answer."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

NUMBERS = st.integers(-5, 50) | st.sampled_from([2**31, 2**63, 10**30, -(2**70)]) | st.floats()
WORDS = st.sampled_from(
    "auto auto_0.1 auto_-1 auto_nan newton policy defensive uniform step episode cpu meta exact trace rk4 "
    "midpoint "
    "gaussian mlp structured standard network quadratic default scalar FlowPolicy SAC relu 1 0.5 -1 nan inf 1e-60 "
    "1e400".split()
)
CALLABLES = st.sampled_from(
    [
        *(len, dict, object, nn.ReLU, nn.SiLU, nn.Linear, nn.Flatten, nn.GLU, nn.Identity(), torch.relu, np.float64),
        *(
            torch.optim.SGD,
            torch.optim.AdamW,
            torch.optim.LBFGS,
            torch.optim.SparseAdam,
            lambda progress: 1e-3 * progress,
        ),
    ]
)
SCALARS = st.one_of(
    NUMBERS,
    WORDS,
    st.text(max_size=8),
    st.none(),
    st.booleans(),
    CALLABLES,
    st.binary(max_size=3),
    st.complex_numbers(),
    st.integers(-5, 50).map(np.int64),
    st.floats(width=32).map(np.float32),
    st.lists(st.floats(), max_size=3).map(np.array),
    st.decimals(),
    st.builds(object),
)
KEYS = st.sampled_from(["pi", "qf", "lr", "betas", "eps", "weight_decay", "features_dim", "state"]) | st.text(
    max_size=3
)
ANYTHING = (
    SCALARS | st.lists(SCALARS, max_size=3) | st.tuples(SCALARS, SCALARS) | st.dictionaries(KEYS, SCALARS, max_size=2)
)


def fuzz(name, attempt, values, examples):
    """
    Call ``attempt`` with many values: it returns, or refuses the value by the argument's name.

    :param name: name of the argument
    :param attempt: a function of the value
    :param values: strategy of the values
    :param examples: number of values
    :return: how many were tried and how many worked
    """
    counts = np.zeros(2, int)

    @settings(max_examples=examples)
    @given(values)
    def check(value):
        counts[0] += 1
        try:
            attempt(value)
        except (ValueError, TypeError) as error:
            assert name in str(error), f"{name}={value!r} is refused without its name: {type(error).__name__}: {error}"
        else:
            counts[1] += 1

    check()
    return counts
