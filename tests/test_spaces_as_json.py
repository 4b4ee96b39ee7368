"""Spaces as JSON: equal ones come back."""

import json

import numpy as np
import pytest
from gymnasium import spaces
from small_policies import ACTION, IMAGE, VECTOR

from sb3_flowsac.files.spaces import space_from_json, space_to_json


@pytest.mark.parametrize(
    "space",
    [
        VECTOR,
        ACTION,
        IMAGE,
        spaces.Box(-1, 1, (2, 3), np.float64),
        spaces.Box(np.array([[-5, 2**40]]), np.array([[7, 2**41]]), dtype=np.int64),
        spaces.Box(-np.inf, np.inf, ()),
        spaces.Discrete(5, start=-2),
        spaces.MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [2, 3]]),
        spaces.MultiDiscrete([3, 3]),
        spaces.MultiBinary(4),
        spaces.MultiBinary([2, 3]),
        spaces.Dict([("z", ACTION), ("a", spaces.Dict(inner=IMAGE))]),
    ],
    ids=str,
)
def test_spaces_come_back_equal(space):
    text = json.dumps(space_to_json(space), allow_nan=False)
    restored = space_from_json(json.loads(text))
    assert restored == space and type(restored) is type(space) and restored.dtype == space.dtype
    if isinstance(space, spaces.Dict):
        assert list(restored.spaces) == list(space.spaces)
    assert len(json.dumps(space_to_json(IMAGE))) < 100
