"""Results that an earlier start has left."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from experiments.runner.tasks import OtherStudyError, Result, Task, kept_result


def kept_results(tasks: Iterable[Task], folder: Path, console: Console) -> list[tuple[Task, Result]]:
    """
    The tasks whose results are kept, each with its result; those of another study are named and left out.

    :param tasks: the tasks
    :param folder: where results are kept
    :param console: where what is left out is said
    """
    found = []
    for task in tasks:
        try:
            kept = kept_result(task, folder)
        except OtherStudyError as error:
            console.print(f"Left out: {error}")
            continue
        if kept is not None:
            found.append((task, kept))
    return found
