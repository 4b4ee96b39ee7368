"""
Mutation testing of the flow, of ISFM and of the LQR's solution: would a test notice if a line were wrong?

mutmut changes one operator, number, name or argument at a time and runs those tests that reach the changed function. What is
mutated and by which tests it is judged stands under [tool.mutmut] in pyproject.toml. mutmut wants packages that are imported
from where they lie, so this works on a copy in --out, packages and tests side by side. Stopped and started again, it goes on.

    python benchmarks/mutation.py --out mutation                # all mutants: hours on one core
    python benchmarks/mutation.py --out mutation --sample 400   # as many of them, drawn at random
    python benchmarks/mutation.py --out mutation --report       # the figures and the surviving mutants of what was run
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

ROOT = Path(__file__).resolve().parent.parent
CONTENT = {"sb3_flowsac": "sb3_flowsac", "envs/maxent_envs": "maxent_envs", "tests": "tests", "pyproject.toml": "pyproject.toml"}
STATUS = {0: "survived", 1: "killed", 3: "killed", 33: "without a test", None: "not run"}  # mutmut's exit codes; others: timed out


def copy_sources(folder: Path) -> None:
    """Bring the copy up to date; files that have not changed keep their time, by which mutmut knows them."""
    for source, target in CONTENT.items():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / source, folder / target)


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in the copy, on one core, and give what it printed last."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, "-m", "mutmut", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    return done.stdout[-3000:] + done.stderr[-3000:]


def results(folder: Path) -> dict[str, str]:
    """What became of each mutant."""
    found = {}
    for path in sorted((folder / "mutants").rglob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        found.update({name: STATUS.get(code, "timed out") for name, code in codes.items()})
    return found


def report(folder: Path) -> None:
    """Print the figures of each package, then every mutant that no test has noticed, as a difference."""
    counts: dict[str, Counter[str]] = {}
    found = results(folder)
    for name, status in found.items():
        counts.setdefault(".".join(name.split(".")[:2]), Counter())[status] += 1
    for module, count in counts.items():
        print(f"{module}: {count.total()} mutants, {', '.join(f'{number} {status}' for status, number in count.most_common())}")
    for name, status in found.items():
        if status not in ("killed", "not run"):
            print(f"\n{status}: {mutmut(folder, 'show', name)}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("mutation"), help="folder of the copy and the results")
    parser.add_argument("--sample", type=int, metavar="N", help="run N mutants, drawn at random with a fixed seed")
    parser.add_argument("--report", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    if not arguments.report:
        copy_sources(arguments.out)
        names: list[str] = []
        if arguments.sample is not None:
            mutmut(arguments.out, "run", "--max-children", "1", "none of them")  # makes the mutants
            every = sorted(results(arguments.out))
            names = random.Random(0).sample(every, min(arguments.sample, len(every)))
        print(mutmut(arguments.out, "run", "--max-children", "1", *names))
    report(arguments.out)


if __name__ == "__main__":
    main()
