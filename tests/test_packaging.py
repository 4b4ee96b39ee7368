"""The facts that packaging relies on; the build of the wheel and its install are part of .ci/run."""

import importlib.metadata
import re
from pathlib import Path

import pytest

import maxent_envs
import sb3_flowsac

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project():
    tomllib = pytest.importorskip("tomllib")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.partition(";")[0].split("==") for line in lines if not line.startswith("#")]
    return {normal(name): version for name, version in pairs}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_version_is_stated_once():
    stated = [
        path.relative_to(ROOT).as_posix()
        for folder in ("sb3_flowsac", "envs/maxent_envs")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^__version__\s*=", path.read_text(), re.MULTILINE)
    ]
    assert stated == ["sb3_flowsac/version.py"]
    assert (
        f"__version__ = {sb3_flowsac.__version__!r}".replace("'", '"') in (ROOT / "sb3_flowsac/version.py").read_text()
    )


def test_metadata_of_the_installed_distribution():
    try:
        distribution = importlib.metadata.distribution("sb3-flowsac")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed, only on the path")
    assert distribution.version == sb3_flowsac.__version__
    assert {"zoo", "mujoco", "box2d", "test", "dev", "docs"} <= set(distribution.metadata.get_all("Provides-Extra"))
    assert [(point.name, point.value) for point in distribution.entry_points] == [("flowsac", "sb3_flowsac.cli:main")]


def test_both_packages_carry_types():
    for package in (sb3_flowsac, maxent_envs):
        assert (Path(package.__file__).parent / "py.typed").is_file()


def test_every_direct_dependency_is_pinned(project, pins):
    groups = {**project["project"]["optional-dependencies"], "": project["project"]["dependencies"]}
    wanted = {normal(re.match(r"[\w.-]+", line)[0]) for lines in groups.values() for line in lines}
    assert wanted - {"sb3-flowsac"} <= pins.keys()
    assert pins["torch"] == "2.13.0"


def test_constraints_name_versions_and_no_place():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        python = r'; (python_version >= "3\.\d+"|python_full_version >= "3\.\d+\.\d+")'
        assert line.startswith("#") or re.fullmatch(rf"[\w.-]+==[\w.]+({python})?", line), line


def test_the_wheel_holds_two_packages_and_the_zoo_settings(project):
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    moved = [wheel["sources"].get(folder, folder) for folder in wheel["only-include"]]
    assert moved == ["sb3_flowsac", "maxent_envs", "sb3_flowsac/zoo_configs"]
    assert all((ROOT / folder).is_dir() for folder in wheel["only-include"])


def test_the_changelog_knows_this_version():
    assert f"## [{sb3_flowsac.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
