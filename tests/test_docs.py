"""The examples of the pages run, and print what the pages say."""

import re
from collections import Counter
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLES = {
    f"{page}-{i + 1}": code
    for page in ("environments.md", "reliability.md", "sampling.md", "sb3.md")
    for i, code in enumerate(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL))
}
QUOTED = ("clip_probability", "n_steps=")  # in the examples whose output their page quotes


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page, code = name.rpartition("-")[0], EXAMPLES[name]
    exec(compile(code, page, "exec"), {})
    printed = capsys.readouterr().out
    assert printed.strip()
    if any(word in code for word in QUOTED):
        assert printed in (DOCS / page).read_text(encoding="utf-8")


def test_pages_have_examples():
    counts = Counter(name.rpartition("-")[0] for name in EXAMPLES)
    assert counts == {"environments.md": 8, "reliability.md": 2, "sampling.md": 1, "sb3.md": 4}
