"""Checks of single arguments: each returns the value as Python's type, or names the argument and what is allowed."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from maxent_envs.validation import abridged, choice, integer, number

MAX_SIZE = 2**16  # of networks, of draws in a state: far above any use, and refused before it fills the memory

__all__ = ["MAX_SIZE", "abridged", "boolean", "choice", "integer", "naming", "number", "positive"]


def positive(name: str, value: object) -> float:
    """Check a finite number above 0, see ``number``."""
    return number(name, value, 0.0, between=True)


def boolean(name: str, value: object) -> bool:
    """Check a truth value, Python's or numpy's; numbers are refused with a ``ValueError``."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {abridged(value)}")
    return bool(value)


@contextmanager
def naming(rule: str, kind: type[Exception] = ValueError, caught: type[Exception] = Exception) -> Iterator[None]:
    """
    Whatever is raised within, by a user's code or a library, is raised as an error that says the rule first.

    :param rule: what must hold, or what has failed
    :param kind: the error's class
    :param caught: class of the errors that get the rule; others pass as they are
    """
    try:
        yield
    except caught as error:
        raise kind(f"{rule}: {error}") from error
