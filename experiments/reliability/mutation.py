"""
Mutation testing of the flow, of ISFM and of the LQR's solution: would a test notice if a line were wrong?

mutmut (extra "dev") changes one operator, number, name or argument at a time and runs those tests that reach the
changed function. It wants packages that are imported from where they lie, so this works on a copy in --out, packages
and tests side by side. Stopped and started again, it goes on.

    python -m experiments.reliability.mutation --out mutation                # every mutant: hours on one core
    python -m experiments.reliability.mutation --out mutation --only lqr --sample 150   # as many of one part, at random
    python -m experiments.reliability.mutation --out mutation --report     # figures and survivors of what was run
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONTENT = {name: name for name in ("sb3_flowsac", "tests", "docs", "pyproject.toml")} | {
    "envs/maxent_envs": "maxent_envs"
}
# What is mutated, and the tests by which it is judged
PARTS = {
    "lqr": (
        [
            "maxent_envs/lqr/problem.py",
            "maxent_envs/lqr/linalg.py",
        ],
        [
            "test_lqr_iteration.py",
            "test_lqr_linalg.py",
            "test_lqr_problem.py",
            "test_lqr_solution.py",
            "test_theorems.py",
        ],
    ),
    "isfm": (
        ["sb3_flowsac/isfm/*.py"],
        [
            f"test_isfm_{name}.py"
            for name in ("weights", "sampling", "mixture", "kernels", "newton", "schedule", "improvement", "loss")
        ],
    ),
    "flow": (
        ["sb3_flowsac/flow/*.py"],
        [f"test_flow_{name}.py" for name in ("base", "fields", "matrices", "ode", "paths", "transforms", "density")],
    ),
}
# Left out for their time: others judge the same functions
SLOW = (
    "gradient_error_shrinks",
    "brings_a_policy_back",
    "every_named_distribution",
    "log_prob_is_a_density",
    "torchdiffeq",
    "integrates_to_one",
    "rollouts",
    "simulation",
)
CONFIG = """\
[mutmut]
source_paths=
    sb3_flowsac
    maxent_envs
only_mutate=
    {mutated}
pytest_add_cli_args_test_selection=
    {tests}
pytest_add_cli_args=
    -p
    no:cacheprovider
    -k
    {selected}
also_copy=
    docs
process_isolation=forkserver
timeout_constant=10
"""
STATUS = {
    0: "survived",
    1: "killed",
    3: "killed",
    33: "without a test",
    None: "not run",
}  # mutmut's exit codes; others: timed out


def copy_sources(folder: Path, part: str) -> None:
    """Bring the copy up to date; files that have not changed keep their time, by which mutmut knows them."""
    for source, target in CONTENT.items():
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, folder / target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(ROOT / source, folder / target)
    mutated, tests = PARTS[part]
    config = CONFIG.format(
        mutated="\n    ".join(mutated),
        tests="\n    ".join(f"tests/{name}" for name in tests),
        selected=" and ".join(f"not {name}" for name in SLOW),
    )
    (folder / "setup.cfg").write_text(config, encoding="utf-8")


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in the copy, on one core, and give what it printed last."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    return done.stdout[-3000:] + done.stderr[-3000:]


def results(folder: Path) -> dict[str, str]:
    """What became of each mutant."""
    found = {}
    for path in sorted((folder / "mutants").rglob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        found.update({name: STATUS.get(code, "timed out") for name, code in codes.items()})
    return found


def report(folder: Path) -> None:
    """Print the figures, then every mutant that no test has noticed, as a difference."""
    found = results(folder)
    count = Counter(found.values())
    print(
        f"{folder.name}: {count.total()} mutants, "
        f"{', '.join(f'{number} {status}' for status, number in count.most_common())}"
    )
    for name, status in found.items():
        if status not in ("killed", "not run"):
            print(f"\n{status}: {mutmut(folder, 'show', name)}")


def run(folder: Path, part: str, sample: int | None) -> None:
    """Run the mutants of a part that have no result, or a sample of all."""
    copy_sources(folder, part)
    names: list[str] = []
    if sample is not None:
        mutmut(folder, "run", "--max-children", "1", "none of them")  # makes the mutants
        found = results(folder)
        every = sorted(found)
        random.Random(0).shuffle(every)  # a larger sample holds the smaller ones
        names = [name for name in every[:sample] if found[name] == "not run"]  # mutmut would run those named once more
        if not names:
            return
    print(mutmut(folder, "run", "--max-children", "1", *names)[-200:])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("mutation"), help="folder of the copies and the results")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="parts to run")
    parser.add_argument(
        "--sample", type=int, metavar="N", help="run N mutants of each part, drawn at random with a fixed seed"
    )
    parser.add_argument("--report", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    for part in arguments.only:
        if not arguments.report:
            run(arguments.out / part, part, arguments.sample)
        report(arguments.out / part)


if __name__ == "__main__":
    main()
