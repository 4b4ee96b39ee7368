"""Tasks of a study: run several at a time in processes of their own, keep each result, go on where an earlier start
ended."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from experiments.runner.versions import defaults, versions
from sb3_flowsac.checks import integer
from sb3_flowsac.files.writing import write_text
from sb3_flowsac.lqr_study.processes import process_pool

Result = dict[str, Any]


class OtherStudyError(ValueError):
    """A folder holds results of another study, which would be overwritten."""


@dataclass(frozen=True)
class Task:
    """
    A function call whose result is kept in a file.

    :param name: what the task is called, also its file: a relative path without suffix
    :param function: a module's function that returns what JSON can hold; it may run in another process
    :param arguments: its keyword arguments, picklable
    :param settings: all that the result depends on besides versions of packages and FlowSAC's defaults, in JSON's terms
    """

    name: str
    function: Callable[..., Result]
    arguments: dict[str, Any]
    settings: dict[str, Any]

    def __call__(self) -> Result:
        """Call the function, on one thread: no slower for small networks, far faster where others want the cores."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self.function(**self.arguments)
        finally:
            torch.set_num_threads(threads)

    @property
    def identity(self) -> dict[str, Any]:
        """Settings, versions and defaults as JSON holds them: a tuple becomes a list."""
        parts = {"settings": self.settings, "versions": versions(), "defaults": defaults()}
        identity: dict[str, Any] = json.loads(json.dumps(parts))
        return identity


Outcomes = Iterator[tuple[Task, Result | Exception]]
Backend = Callable[[Sequence[Task], Console], Outcomes]
"""Runs tasks and gives the result of each, or the exception that ended it, as they come."""


def run_tasks(tasks: Sequence[Task], folder: Path, jobs: int | Backend, console: Console) -> list[Result]:
    """
    Results of all tasks, kept ones read from ``folder``, the others computed and kept there as they come.

    A task that fails does not keep the others from ending; its exception is raised afterwards.

    :param tasks: the tasks
    :param folder: where results are kept, ``NAME.json`` for each task
    :param jobs: number of tasks at the same time, each in a process of its own if more than one, or what runs them
    :param console: where progress is shown
    :return: the results in the order of the tasks
    :raises ValueError: if two tasks have one name, or there are no jobs
    :raises OtherStudyError: before anything is computed, if a result of other settings would be overwritten
    """
    if not callable(jobs):
        integer("jobs", jobs, 1)
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise ValueError(f"tasks must have different names, got {names}")
    results = {task.name: kept for task in tasks if (kept := kept_result(task, folder)) is not None}
    missing = [task for task in tasks if task.name not in results]
    if results:
        console.print(f"{len(results)} of {len(tasks)} results are kept in {folder}; delete them to compute them again")
    failures: list[Exception] = []
    start = time.monotonic()
    outcomes = jobs(missing, console) if callable(jobs) else _outcomes(missing, jobs, console)
    for number, (task, outcome) in enumerate(outcomes, start=1):
        hours = (time.monotonic() - start) / number * (len(missing) - number) / 3600
        progress = f"{number} of {len(missing)}, about {hours:.1f} hours left"
        if isinstance(outcome, Exception):
            console.print(f"Failed ({progress}): {task.name}: {outcome}")
            failures.append(outcome)
            continue
        write_json(folder / f"{task.name}.json", {**task.identity, "result": outcome})
        results[task.name] = outcome
        console.print(f"Done ({progress}): {task.name}")
    if failures:
        raise failures[0]
    return [results[task.name] for task in tasks]


def kept_result(task: Task, folder: Path) -> Result | None:
    """
    The result that an earlier start has kept.

    :param task: the task
    :param folder: where results are kept
    :return: the result, or ``None`` if there is none or its file is damaged
    :raises OtherStudyError: if what is kept under the task's name has other settings, or is of other versions or
        defaults
    """
    path = folder / f"{task.name}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found, result = {key: kept[key] for key in task.identity}, kept["result"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if found == task.identity:
        return result if isinstance(result, dict) else None
    differing = [
        key
        for part, settings in task.identity.items()
        for key in {**settings, **found[part]}
        if settings.get(key) != found[part].get(key)
    ]
    raise OtherStudyError(
        f"{path} holds a result of another study ({', '.join(differing)} differ): delete it or take another folder"
    )


def _outcomes(tasks: Sequence[Task], jobs: int, console: Console) -> Outcomes:
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


def _in_processes(tasks: Sequence[Task], jobs: int, console: Console) -> Outcomes:
    console.print(f"Running {len(tasks)} tasks, {jobs} at a time")
    executor = process_pool(jobs)
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
    Write a JSON file whole or not at all, see ``sb3_flowsac.files.writing``.

    :param path: the file; its folder is made if needed
    :param content: what JSON can hold
    """
    write_text(path, json.dumps(content, indent=2) + "\n")
