"""Theorem 2 as an experiment: how far a flow that ISFM fits to N weighted samples is from its target."""

from experiments.theory.theorem2.study import run_theorem2

__all__ = ["run_theorem2"]
