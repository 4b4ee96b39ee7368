"""Tasks of a study: run several at a time in processes of their own, keep each result, go on where an earlier start ended."""

import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from sb3_flowsac.files import replacing

Result = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """
    A function call whose result is kept in a file.

    :param name: what the task is called, also its file: a relative path without suffix
    :param function: a module's function that returns what JSON can hold; it may run in another process
    :param arguments: its keyword arguments, picklable
    :param settings: all that the result depends on, in JSON's terms; a kept result of other settings is not used
    """

    name: str
    function: Callable[..., Result]
    arguments: dict[str, Any]
    settings: dict[str, Any]

    def __call__(self) -> Result:
        """Call the function."""
        return self.function(**self.arguments)


def run_tasks(tasks: Sequence[Task], folder: Path, jobs: int, console: Console) -> list[Result]:
    """
    Results of all tasks, kept ones read from ``folder``, the others computed and kept there as they come.

    A task that fails does not keep the others from ending; its exception is raised afterwards.

    :param tasks: the tasks; no two of the same name
    :param folder: where results are kept, ``NAME.json`` for each task
    :param jobs: number of tasks at the same time, each in a process of its own if more than one
    :param console: where progress is shown
    :return: the results in the order of the tasks
    """
    results = {task.name: kept for task in tasks if (kept := kept_result(task, folder)) is not None}
    missing = [task for task in tasks if task.name not in results]
    if results:
        console.print(f"{len(results)} of {len(tasks)} results are kept in {folder}; delete them to compute them again")
    failures: list[Exception] = []
    for number, (task, outcome) in enumerate(_outcomes(missing, jobs, console), start=1):
        if isinstance(outcome, Exception):
            console.print(f"Failed ({number} of {len(missing)}): {task.name}: {outcome}")
            failures.append(outcome)
            continue
        write_json(folder / f"{task.name}.json", {"settings": task.settings, "result": outcome})
        results[task.name] = outcome
        console.print(f"Done ({number} of {len(missing)}): {task.name}")
    if failures:
        raise failures[0]
    return [results[task.name] for task in tasks]


def kept_result(task: Task, folder: Path) -> Result | None:
    """
    The result that an earlier start has kept, if it has the same settings.

    :param task: the task
    :param folder: where results are kept
    :return: the result, or ``None``
    """
    try:
        kept = json.loads((folder / f"{task.name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    # Compared as JSON holds them: a tuple has become a list
    same = isinstance(kept, dict) and kept.get("settings") == json.loads(json.dumps(task.settings))
    return kept["result"] if same else None


def _outcomes(tasks: Sequence[Task], jobs: int, console: Console) -> Iterator[tuple[Task, Result | Exception]]:
    """Results, and the exceptions of tasks that fail, as they come."""
    if min(jobs, len(tasks)) > 1:
        yield from _in_processes(tasks, min(jobs, len(tasks)), console)
        return
    for task in tasks:
        console.print(f"Running {task.name}")
        try:
            yield task, task()
        except Exception as failure:
            yield task, failure


def _in_processes(tasks: Sequence[Task], jobs: int, console: Console) -> Iterator[tuple[Task, Result | Exception]]:
    """Processes are spawned: a forked one would inherit PyTorch's threads in an unknown state."""
    console.print(f"Running {len(tasks)} tasks, {jobs} at a time")
    executor = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        futures = {executor.submit(task): task for task in tasks}
        for future in as_completed(futures):
            failure = future.exception()
            if failure is not None and not isinstance(failure, Exception):
                raise failure
            yield futures[future], future.result() if failure is None else failure
    finally:
        executor.shutdown(cancel_futures=True)


def write_json(path: Path, content: object) -> None:
    """
    Write a JSON file whole or not at all, see :func:`write_text`.

    :param path: the file; its folder is made if needed
    :param content: what JSON can hold
    """
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """
    Write a text file whole or not at all, see :func:`sb3_flowsac.files.replacing`.

    :param path: the file; its folder is made if needed
    :param text: its content
    """
    with replacing(path) as file:
        file.write(text.encode())
