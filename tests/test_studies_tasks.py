"""Tasks of a study: kept results, failures, files written whole."""

import json

import pytest
from rich.console import Console

from sb3_flowsac.studies.tasks import Task, kept_result, run_tasks, write_json

QUIET = Console(quiet=True)


def double(number, calls=None):
    if calls is not None:
        calls.append(number)
    if number < 0:
        raise ValueError(f"no {number}")
    return {"twice": 2 * number}


def task(number, **arguments):
    return Task(f"numbers/{number}", double, {"number": number, **arguments}, {"number": (number, 1.0)})


def test_results_come_in_order_and_are_kept(tmp_path):
    calls = []
    tasks = [task(number, calls=calls) for number in (3, 1, 2)]
    assert [result["twice"] for result in run_tasks(tasks, tmp_path, 1, QUIET)] == [6, 2, 4]
    assert [result["twice"] for result in run_tasks(tasks, tmp_path, 1, QUIET)] == [6, 2, 4]
    assert calls == [3, 1, 2]


def test_processes_give_the_same(tmp_path):
    assert [result["twice"] for result in run_tasks([task(3), task(1)], tmp_path, 2, QUIET)] == [6, 2]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": {"number": [4, 1.0]}, "result": {}}'])
def test_a_damaged_or_other_result_is_not_used(tmp_path, content):
    run_tasks([task(3)], tmp_path, 1, QUIET)
    (tmp_path / "numbers" / "3.json").write_text(content)
    assert kept_result(task(3), tmp_path) is None
    assert run_tasks([task(3)], tmp_path, 1, QUIET) == [{"twice": 6}]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_keeps_the_other_results(tmp_path, jobs):
    with pytest.raises(ValueError, match="no -1"):
        run_tasks([task(1), task(-1), task(2)], tmp_path, jobs, QUIET)
    assert kept_result(task(1), tmp_path) == {"twice": 2}
    assert kept_result(task(2), tmp_path) == {"twice": 4}


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert json.loads(path.read_text()) == [1]
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
