"""``python -m experiments.theorem2``: run the study of Theorem 2."""

import argparse
from pathlib import Path

from experiments.theorem2 import run_theorem2

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m experiments.theorem2", description=run_theorem2.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, default=Path("flowsac_theorem2"), help="folder for the results")
    parser.add_argument("--jobs", type=int, default=1, help="number of fits at the same time")
    arguments = parser.parse_args()
    run_theorem2(out=arguments.out, jobs=arguments.jobs)
