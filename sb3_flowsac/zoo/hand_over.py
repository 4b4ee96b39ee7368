"""How the Zoo is called: with arguments of our own in ``sys.argv``, and with a name of a module of its own replaced."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    """
    For a while, let a module's name mean something else.

    :param module: the module
    :param name: a name that it has
    :param value: what it is to mean
    """
    saved = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, saved)


def hand_over(verb: str, function: Callable[[], Any], argv: Sequence[str]) -> None:
    """
    Run a function of the Zoo, which reads its arguments from ``sys.argv``.

    :param verb: the subcommand, for the Zoo's messages
    :param function: the function
    :param argv: its arguments
    """
    with replaced(sys, "argv", [f"flowsac {verb}", *argv]):
        function()
