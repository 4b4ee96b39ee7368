"""
Studies of max-entropy LQRs, whose optimum is known in closed form.

    full              the paper's case study: temperatures and seeds, Gaussian SACs beside FlowSAC, all other studies
                      here and of theorem 2, a report; two hours with --jobs 2
    spi               Algorithm 1: soft policy iteration with the exact Q, no training
    zero_temperature  smaller and smaller temperatures
    growing           random systems with more and more states
    defaults          network critics: FlowSAC and SAC with their defaults, and FlowSAC with critic="network"
    systems           all presets, and random systems of 12 states: docs/lqr_systems.md

    python -m experiments.lqr full --jobs 2
    python -m experiments.lqr spi --alpha 0.5 --seed 0
"""

import argparse
import sys
from typing import Any

import maxent_envs
from experiments.lqr.defaults import NETWORK_CRITICS, run_defaults
from experiments.lqr.full import ALPHAS, SEEDS, run_full
from experiments.lqr.growing import run_growing
from experiments.lqr.spi import run_spi
from experiments.lqr.systems import run_systems
from experiments.lqr.zero_temperature import run_zero_temperature
from experiments.runner.options import chosen_backend, command_line


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_line(__doc__, "flowsac_lqr_full")
    parser.add_argument(
        "study", choices=("full", "spi", "zero_temperature", "growing", "defaults", "systems"), help="what to run"
    )
    parser.add_argument("--alpha", type=float, nargs="+", help="temperatures; growing takes one")
    parser.add_argument("--seed", type=int, nargs="+", help="random seeds")
    parser.add_argument("--timesteps", type=int, help="environment steps of a run; not for spi")
    parser.add_argument("--preset", help="the system (default: default); not for growing and systems")
    parser.add_argument(
        "--algorithm", nargs="+", choices=NETWORK_CRITICS, help="what defaults trains; all if not given"
    )
    return parser


def _refuse_what_has_no_effect(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.study == "spi" and options.timesteps is not None:
        parser.error("argument --timesteps: spi takes no environment steps")
    if options.algorithm is not None and options.study != "defaults":
        parser.error("argument --algorithm: only defaults takes it")
    if options.preset is not None and options.study in ("growing", "systems"):
        parser.error(f"argument --preset: {options.study} has its own systems")


def main() -> None:
    """Run a study."""
    parser = build_parser()
    options = parser.parse_args()
    _refuse_what_has_no_effect(parser, options)
    given: dict[str, Any] = {"out": options.out, "jobs": chosen_backend(options)}
    if options.seed is not None:
        given["seeds"] = options.seed
    if options.timesteps is not None:
        given["timesteps"] = options.timesteps
    if options.study == "growing":
        if options.alpha is not None and len(options.alpha) != 1:
            parser.error(f"argument --alpha: growing takes one temperature, got {options.alpha}")
        run_growing(**given, **({} if options.alpha is None else {"alpha": options.alpha[0]}))
        return
    if options.alpha is not None:
        given["alphas"] = options.alpha
    command = " ".join(["python -m experiments.lqr", *sys.argv[1:]])
    if options.study == "systems":
        run_systems(**given, command=command)
        return
    given["problem"] = maxent_envs.preset(options.preset or "default")
    if options.algorithm is not None:
        given["algorithms"] = options.algorithm
    if options.study in ("full", "defaults"):
        (run_full if options.study == "full" else run_defaults)(**given, command=command)
    elif options.study == "spi":
        run_spi(**{"alphas": ALPHAS, "seeds": SEEDS, **given})
    else:
        run_zero_temperature(**given)


if __name__ == "__main__":
    main()
