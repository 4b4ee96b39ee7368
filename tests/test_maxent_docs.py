"""The examples of the page on environments run, and print what the page says."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "environments.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=[f"example-{i + 1}" for i in range(len(EXAMPLES))])
def test_example_runs(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "environments.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.strip()
    if "clip_probability" in code:
        assert printed in PAGE


def test_page_has_examples():
    assert len(EXAMPLES) == 5
