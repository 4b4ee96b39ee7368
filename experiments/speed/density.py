"""
Time to sample actions with their log-density, ours beside other flows; ratios first.

    pip install -e ".[bench]"
    python -m experiments.speed.density

In each of 256 states, 1, 16 and 64 samples in 1, 6 and 17 dimensions, without gradients, by the midpoint rule with the
same number of steps; zuko has only an adaptive solver, at its defaults. Peers have a perceptron of two layers of 256
and the exact divergence by automatic differentiation: the trace integral, as in "ours, trace". "ours" is the density of
the samples that the discrete steps produce. Both of ours include the pass from the state's 256 features to the field.
All take turns; figures are medians. A peer that took too long is not asked for more samples or dimensions.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sb3_flowsac.files.writing import replacing
from sb3_flowsac.flow import Density, make_flow

STATES, FEATURES = 256, 256
Sample = Callable[[], Any]


def perceptron(dim: int) -> nn.Module:
    """The peers' network on [x, t, features]."""
    sizes = [dim + 1 + FEATURES, 256, 256]
    layers = [module for i in range(2) for module in (nn.Linear(sizes[i], sizes[i + 1]), nn.SiLU())]
    return nn.Sequential(*layers, nn.Linear(256, dim))


def ours(density: Density) -> Callable[[int, int, int], Sample]:
    """Our flow with one of its two densities."""

    def make(n: int, dim: int, steps: int) -> Sample:
        flow = make_flow(FEATURES, dim, ode_steps=steps, density=density)
        nn.init.normal_(flow.field.head.weight, std=0.01)
        features = torch.randn(STATES, FEATURES)
        return torch.no_grad()(lambda: flow(features).sample_with_log_prob(n))

    return make


def divergence(velocity: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Velocity and its exact divergence, one backward pass for each dimension."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = velocity(x)
        columns = [torch.autograd.grad(value[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1])]
    return value.detach(), torch.stack(columns).sum(0)


def torchdiffeq(n: int, dim: int, steps: int) -> Sample:
    """A perceptron, ``odeint`` and automatic differentiation."""
    from torchdiffeq import odeint

    net, features = perceptron(dim), torch.randn(STATES, FEATURES).repeat_interleave(n, 0)

    def rates(t: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        time = t.expand(len(features), 1)
        return divergence(lambda x: net(torch.cat([x, time, features], dim=1)), state[0])

    def sample() -> Any:
        start = torch.randn(STATES * n, dim), torch.zeros(STATES * n)
        return odeint(rates, start, torch.tensor([0.0, 1.0]), method="midpoint", options={"step_size": 1.0 / steps})

    return torch.no_grad()(sample)


def flow_matching(n: int, dim: int, steps: int) -> Sample:
    """Meta's library: its solver samples, then integrates back for the likelihood."""
    from flow_matching.solver import ODESolver
    from flow_matching.utils import ModelWrapper

    class Wrapped(ModelWrapper):
        def forward(self, x: torch.Tensor, t: torch.Tensor, **extras: Any) -> torch.Tensor:
            return self.model(torch.cat([x, t.expand(len(x), 1), features], dim=1))

    features = torch.randn(STATES, FEATURES).repeat_interleave(n, 0)
    solver, normal = ODESolver(velocity_model=Wrapped(perceptron(dim))), torch.distributions.Normal(0.0, 1.0)

    def sample() -> Any:
        start = torch.randn(STATES * n, dim)
        end = solver.sample(x_init=start, step_size=1.0 / steps, method="midpoint")
        return solver.compute_likelihood(
            end, lambda x: normal.log_prob(x).sum(-1), step_size=1.0 / steps, method="midpoint", exact_divergence=True
        )

    return sample


def zuko(n: int, dim: int, steps: int) -> Sample:
    """Zuko's continuous normalizing flow."""
    from zuko.flows import CNF

    flow, features = CNF(dim, FEATURES, hidden_features=(256, 256), exact=True), torch.randn(STATES, FEATURES)
    return torch.no_grad()(lambda: flow(features).rsample_and_log_prob((n,)))


METHODS = {
    "ours": ours("exact"),
    "ours, trace": ours("trace"),
    "torchdiffeq": torchdiffeq,
    "flow_matching": flow_matching,
    "zuko": zuko,
}


def measure(n: int, dim: int, steps: int, rounds: int, slow: dict[str, float], limit: float) -> dict[str, float]:
    """Median seconds of each method that is installed and not too slow; the slow ones once."""
    samples = {}
    for name, make in METHODS.items():
        if slow.get(name, 0.0) > limit:
            continue
        try:
            samples[name] = make(n, dim, steps)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            slow[name] = np.inf
    times: dict[str, list[float]] = {name: [] for name in samples}
    for i in range(rounds + 1):
        for name, sample in samples.items():
            if i and slow.get(name, 0.0) > 1.0:
                continue
            start = time.perf_counter()
            sample()
            elapsed = time.perf_counter() - start
            slow[name] = max(slow.get(name, 0.0), elapsed) if i else elapsed
            times[name].append(elapsed)
    return {name: float(np.median(values[1:] or values)) for name, values in times.items()}  # the first warms up


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[1, 16, 64], help="samples in each state")
    parser.add_argument("--dims", type=int, nargs="+", default=[1, 6, 17], help="dimensions")
    parser.add_argument("--steps", type=int, default=4, help="solver steps")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--rounds", type=int, default=5, help="rounds in which each is timed")
    parser.add_argument(
        "--limit", type=float, default=5.0, help="seconds of a call after which a peer is asked no more"
    )
    parser.add_argument("--out", type=Path, default=Path("density_benchmark.json"), help="file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = []
    for dim in arguments.dims:
        slow: dict[str, float] = {}
        for n in arguments.samples:
            times = measure(n, dim, arguments.steps, arguments.rounds, slow, arguments.limit)
            ratios = ", ".join(
                f"{name} {value / times['ours']:.1f} x" for name, value in times.items() if name != "ours"
            )
            print(
                f"{STATES} x {n} samples, {dim} dimensions: {ratios} the time of ours ({times['ours'] * 1e3:.1f} ms)",
                flush=True,
            )
            rows.append({"samples": n, "dim": dim, "seconds": times})
    content = {"torch": torch.__version__, "threads": arguments.threads, "steps": arguments.steps, "rows": rows}
    with replacing(arguments.out) as file:
        file.write(json.dumps(content, indent=2).encode())


if __name__ == "__main__":
    main()
