"""Checks of arguments that the studies share."""

from collections.abc import Callable, Collection
from functools import partial
from typing import TypeVar

from sb3_flowsac.checks import integer

T = TypeVar("T")


def distinct(
    name: str, values: Collection[object], check: Callable[[str, object], T], at_least: int = 1
) -> tuple[T, ...]:
    """
    The different values of an argument that holds several, in the order given.

    :param name: name of the argument
    :param values: what was given
    :param check: returns one of them, given the argument's name, or raises ``ValueError``
    :param at_least: how many different ones there have to be
    :raises ValueError: if there are fewer, or if one is out of range
    """
    found = tuple(dict.fromkeys(check(name, value) for value in values))
    if len(found) < at_least:
        raise ValueError(f"{name} must hold {at_least} or more different values, got {list(values)}")
    return found


def distinct_seeds(seeds: Collection[object], at_least: int = 1) -> tuple[int, ...]:
    """
    The different seeds of an argument ``seeds``, in the order given.

    :param seeds: what was given
    :param at_least: how many different ones there have to be
    :raises ValueError: if there are fewer, or if one is no integer of at least 0
    """
    return distinct("seeds", seeds, partial(integer, low=0), at_least)
