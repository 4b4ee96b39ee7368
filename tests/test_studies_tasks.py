"""Tasks of a study: kept results, failures, files written whole."""

import io
import json
import re

import pytest
import torch
from rich.console import Console

from experiments.runner.kept import kept_results
from experiments.runner.tasks import Task, kept_result, run_tasks, write_json

QUIET = Console(quiet=True)


def double(number, calls=None):
    if calls is not None:
        calls.append(number)
    if number < 0:
        raise ValueError(f"no {number}")
    return {"twice": 2 * number}


def count_threads():
    return {"threads": torch.get_num_threads()}


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


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"settings": {}, "versions": {}}', b"3"])
def test_a_damaged_result_is_computed_again(tmp_path, content):
    run_tasks([task(3)], tmp_path, 1, QUIET)
    (tmp_path / "numbers" / "3.json").write_bytes(content)
    assert kept_result(task(3), tmp_path) is None
    assert run_tasks([task(3)], tmp_path, 1, QUIET) == [{"twice": 6}]


@pytest.mark.parametrize("part", ["settings", "versions", "defaults"])
def test_a_result_of_another_study_is_not_overwritten(tmp_path, part):
    run_tasks([task(3)], tmp_path, 1, QUIET)
    path = tmp_path / "numbers" / "3.json"
    kept = json.loads(path.read_text())
    name = next(iter(kept[part]))
    kept[part][name] = "another"
    path.write_text(json.dumps(kept))
    calls = []
    with pytest.raises(ValueError, match=re.escape(f"3.json holds a result of another study ({name} differ)")):
        run_tasks([task(1, calls=calls), task(3)], tmp_path, 1, QUIET)
    assert calls == []
    assert json.loads(path.read_text()) == kept


def test_two_tasks_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="different names"):
        run_tasks([task(3), task(3)], tmp_path, 1, QUIET)


def test_a_task_runs_on_one_thread_and_gives_the_others_back(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run_tasks([Task("threads", count_threads, {}, {})], tmp_path, 1, QUIET) == [{"threads": 1}]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_keeps_the_other_results(tmp_path, jobs):
    with pytest.raises(ValueError, match="no -1"):
        run_tasks([task(1), task(-1), task(2)], tmp_path, jobs, QUIET)
    assert kept_result(task(1), tmp_path) == {"twice": 2}
    assert kept_result(task(2), tmp_path) == {"twice": 4}


def test_kept_results_leave_those_of_another_study_out(tmp_path):
    run_tasks([task(1), task(3)], tmp_path, 1, QUIET)
    path = tmp_path / "numbers" / "3.json"
    kept = json.loads(path.read_text())
    kept["settings"]["other"] = 1
    path.write_text(json.dumps(kept))
    said = io.StringIO()
    found = kept_results([task(1), task(2), task(3)], tmp_path, Console(file=said, width=1000))
    assert [(one.name, result) for one, result in found] == [("numbers/1", {"twice": 2})]
    assert said.getvalue().startswith(f"Left out: {path} holds a result of another study (other differ)")


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert json.loads(path.read_text()) == [1]
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
