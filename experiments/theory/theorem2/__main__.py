"""
How far a flow that ISFM fits to N weighted samples is from its target, as Theorem 2 bounds it.

    python -m experiments.theory.theorem2 --jobs 2
"""

from experiments.runner.options import chosen_backend, command_line
from experiments.theory.theorem2 import run_theorem2

if __name__ == "__main__":
    options = command_line(__doc__, "flowsac_theorem2").parse_args()
    run_theorem2(out=options.out, jobs=chosen_backend(options))
