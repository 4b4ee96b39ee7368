"""The Python of every page runs, and prints what the page says; its links and its ``flowsac`` commands are right."""

import re
import sys
from pathlib import Path

import pytest

from sb3_flowsac import FlowSAC, cli

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
}
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\nprints)?(?:\n\n^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
CONTINUED = ["docs/tutorial.md"]  # pages whose blocks are one session
ZOO = "docs/zoo.md"  # needs the extra zoo, which has a part of .ci/run to itself


def blocks_of(page):
    """Pairs of code and what the page says that it prints; a block of "text" that follows is that."""
    blocks = BLOCK.findall(PAGES[page])
    assert len(blocks) == PAGES[page].count("```python"), f"{page} has Python in a form that this test does not read"
    return blocks


EXAMPLES = [
    pytest.param(page, i, id=f"{page}-{i + 1}")
    for page in PAGES
    for i in range(len(blocks_of(page)))
    if page not in CONTINUED
]


@pytest.fixture
def a_place_to_run(tmp_path, monkeypatch, short_runs):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    return tmp_path


def run(page, code, names, capsys):
    exec(compile(code, page, "exec"), names)
    return capsys.readouterr().out


@pytest.mark.parametrize(("page", "number"), EXAMPLES)
def test_example_runs(page, number, a_place_to_run, capsys, monkeypatch, make_model):
    if page == ZOO:
        pytest.importorskip("rl_zoo3")
        settings = str(ROOT / "zoo_configs" / "flowsac.yml")
        monkeypatch.setattr(
            sys, "argv", ["train", "--algo", "flowsac", "--env", "Pendulum-v1", "--conf-file", settings]
        )
    code, expected = blocks_of(page)[number]
    if "flowsac_lqr/runs" in code:  # what `flowsac lqr` has written
        make_model("MaxEntLQR-v0").save("flowsac_lqr/runs/flowsac-alpha-0.1-seed-0/model.zip")
    printed = run(page, code, {"__name__": "__main__"}, capsys)
    if expected:
        assert printed == expected


@pytest.mark.parametrize("page", CONTINUED)
def test_session_runs(page, a_place_to_run, capsys):
    names = {"__name__": "__main__"}
    for code, _ in blocks_of(page):
        run(page, code, names, capsys)
    assert {"actions.png", "errors.png", "lqr_model.zip"} <= {path.name for path in a_place_to_run.iterdir()}
    assert isinstance(names["loaded"], FlowSAC)


def test_pages_have_examples():
    assert len(EXAMPLES) >= 25
    assert sum(1 for page in PAGES for _, expected in blocks_of(page) if expected) == 2


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    """Anchors and the site's own links are mkdocs' to check; this is for those who read the pages in the repository."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL))
    missing = [target for target in targets if "://" not in target and not ((ROOT / page).parent / target).exists()]
    assert not missing


def commands(start):
    """What follows on the pages' lines that begin with a command."""
    lines = (line for text in PAGES.values() for line in re.findall(rf"^ *{start}\b([^#\n&]*)", text, re.MULTILINE))
    return {tuple(line.split()) for line in lines}


def test_lqr_commands_of_the_pages_parse(tmp_path, monkeypatch):
    from experiments.lqr.__main__ import build_parser  # not where the wheel alone is installed

    monkeypatch.chdir(tmp_path)
    Path("my_lqr.yml").touch()
    of_package, of_experiments = commands("flowsac lqr"), commands("python -m experiments.lqr")
    assert len(of_package) >= 2 and of_experiments
    for options in of_package:
        assert cli.build_parser().parse_args(["lqr", *options]).command == "lqr"
    assert {build_parser().parse_args(options).study for options in of_experiments} == {"full", "systems", "defaults"}
