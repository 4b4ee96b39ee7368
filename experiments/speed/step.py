"""
Speed of learning: FlowSAC (plain, compiled) beside SB3's SAC, sb3-contrib's TQC and CrossQ, SBX's SAC and CrossQ, at
their defaults and CrossQ with critics of 2 x 256, too; ratios first.

    pip install -e ".[bench,mujoco]"
    python -m experiments.speed.step --out step_benchmark

All models learn in turn, round by round in random order, in one process, so that what else the machine does falls on
all of them; figures are medians over the rounds, ratios medians of the rounds' ratios. What is not installed is left
out, with a message. JAX takes the threads that it wants, whatever --threads says.
"""

import argparse
import importlib
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from matplotlib.figure import Figure
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from experiments.runner.algorithms import SMALL_CRITICS
from sb3_flowsac.files.writing import replacing
from sb3_flowsac.plotting import save_figure

MODELS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "FlowSAC": ("sb3_flowsac", "FlowSAC", "FlowPolicy", {}),
    "compiled": ("sb3_flowsac", "FlowSAC", "FlowPolicy", {"torch_compile": True}),
    "SAC": ("stable_baselines3", "SAC", "MlpPolicy", {}),
    "TQC": ("sb3_contrib", "TQC", "MlpPolicy", {}),
    "CrossQ": ("sb3_contrib", "CrossQ", "MlpPolicy", {}),
    "CrossQ 2x256": ("sb3_contrib", "CrossQ", "MlpPolicy", SMALL_CRITICS),
    "SBX SAC": ("sbx", "SAC", "MlpPolicy", {}),
    "SBX CrossQ": ("sbx", "CrossQ", "MlpPolicy", {}),
}
BATCH_SIZE = 256
LEARNING_STARTS = 300


class Phases:
    """Time spent in functions, by wrapping them where they are looked up; what an inner one takes the outer one does
    not."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = 0.0

    def _switch(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.totals[self._stack[-1]] += now - self._since
        self._since = now

    def wrap(self, owner: Any, attribute: str, phase: str) -> None:
        """Count the time of ``owner.attribute`` for a phase, from now on."""
        inner = getattr(owner, attribute)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._switch()
            self._stack.append(phase)
            try:
                return inner(*args, **kwargs)
            finally:
                self._switch()
                self._stack.pop()

        setattr(owner, attribute, timed)


def make_models(env_id: str, names: Iterable[str] = MODELS, device: str = "cpu") -> dict[str, OffPolicyAlgorithm]:
    """Models of ``MODELS`` that have begun to learn, in environments of their own."""
    models = {}
    for name in names:
        module, class_name, policy, kwargs = MODELS[name]
        try:
            model_class = getattr(importlib.import_module(module), class_name)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        size = {"buffer_size": 10_000, "learning_starts": LEARNING_STARTS}
        model = model_class(policy, env_id, seed=0, device=device, **size, **kwargs)
        models[name] = model.learn(LEARNING_STARTS + 10)
    return models


def seconds(function: Callable[[], Any], n: int) -> float:
    """Mean time of a call."""
    start = time.perf_counter()
    for _ in range(n):
        function()
    return (time.perf_counter() - start) / n


def speeds(models: dict[str, OffPolicyAlgorithm], rounds: int, steps: int) -> dict[str, dict[str, list[float]]]:
    """Of each model and round: seconds of an environment step with its learning, of a gradient step, and of
    ``predict``."""
    times: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in models}
    orders = np.random.default_rng(0)
    for _ in range(rounds):
        for name in orders.permutation(list(models)):  # what a model finds in caches and threads is another's each time
            model, row = models[name], times[name]
            with warnings.catch_warnings():  # the rate falls in short runs; no result depends on it
                warnings.filterwarnings("ignore", "learning_rate starts")
                learn = seconds(lambda model=model: model.learn(steps, reset_num_timesteps=False), 1)
            row["env_step"].append(learn / steps)
            row["gradient_step"].append(seconds(lambda model=model: model.train(1, BATCH_SIZE), steps))
            for n in (1, 64):
                obs = (
                    np.stack([model.observation_space.sample() for _ in range(n)])
                    if n > 1
                    else model.observation_space.sample()
                )
                for deterministic in (True, False):
                    key = f"predict_{n}_{'deterministic' if deterministic else 'stochastic'}"
                    row[key].append(seconds(lambda m=model, o=obs, d=deterministic: m.predict(o, deterministic=d), 100))
    return times


def split_by_phase(model: OffPolicyAlgorithm, steps: int) -> dict[str, float]:
    """Milliseconds of each part of FlowSAC's gradient step; the model stays wrapped."""
    phases = Phases()
    phases.wrap(model, "train", "the rest: temperature, statistics, log")
    phases.wrap(model.replay_buffer, "sample", "sampling from the buffer")
    phases.wrap(model, "_bellman_error", "critics' loss")
    phases.wrap(model.policy.actor, "action_log_prob", "target: next actions and their density")
    phases.wrap(model.critic, "minimize", "critics' gradient")
    phases.wrap(model, "improve_actor", "actor: its gradient and ISFM's loss")
    phases.wrap(model.policy.actor, "reparameterised", "actor: pathwise draws")
    phases.wrap(model.sampling_distribution, "given", "proposals: Q's gradient at the anchors")
    phases.wrap(model, "weigh_proposals", "proposals: draws, values and weights")
    for optimizer in (model.actor.optimizer, model.critic.optimizer, model.entropy_coefficient.optimizer):
        phases.wrap(optimizer, "step", "optimisers")
    model.train(steps, BATCH_SIZE)
    return {name: total / steps * 1e3 for name, total in phases.totals.items()}


def period(model: OffPolicyAlgorithm) -> int:
    """Gradient steps after which a model does the same again: the actor, and ISFM, learn in some of them."""
    return int(getattr(model, "policy_delay", 1) * getattr(model, "isfm_interval", 1))


def flops_per_step(model: OffPolicyAlgorithm) -> float:
    """Floating-point operations of the matrix products of a gradient step, over one period."""
    steps = period(model)
    with FlopCounterMode(display=False) as counter:
        model.train(steps, BATCH_SIZE)
    return counter.get_total_flops() / steps


def matmul_rate() -> float:
    """Floating-point operations a second of a large matrix product."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: a @ a, 1) for _ in range(5))


def peak_bytes(model: OffPolicyAlgorithm) -> int:
    """Most memory that tensors made during gradient steps take at once."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        model.train(period(model), BATCH_SIZE)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.max(np.cumsum([0, *changes])))


def bytes_per_transition(model: OffPolicyAlgorithm) -> float:
    """Memory of the replay buffer's arrays for each transition."""
    buffer = model.replay_buffer
    return sum(value.nbytes for value in vars(buffer).values() if isinstance(value, np.ndarray)) / buffer.buffer_size


def measure(env_id: str, threads: int, rounds: int, cycles: int) -> dict[str, Any]:
    """All figures of one environment and number of threads."""
    torch.set_num_threads(threads)
    torch.compiler.reset()  # what was compiled for another number of threads keeps to that number
    models = make_models(env_id)
    flowsac = models["FlowSAC"]
    steps = cycles * period(flowsac)  # in all rounds the same share of actor updates
    times = speeds(models, rounds, steps)
    rate = matmul_rate()
    sac = {key: np.array(values) for key, values in times["SAC"].items()}
    result: dict[str, Any] = {"env": env_id, "threads": threads, "matmul_gflops": rate / 1e9, "models": {}}
    for name, model in models.items():
        row = {key: np.array(values) for key, values in times[name].items()}
        figures = {
            f"{key}_over_sac": float(np.median(values / sac[key])) for key, values in row.items() if key != "env_step"
        }
        figures["speed_over_sac"] = float(np.median(sac["env_step"] / row["env_step"]))
        figures["env_steps_per_second"] = float(1.0 / np.median(row["env_step"]))
        figures |= {f"{key}_ms": float(np.median(values)) * 1e3 for key, values in row.items() if key != "env_step"}
        if any(True for _ in model.policy.parameters()):  # torch's, not JAX's
            figures["gflop_per_step"] = flops_per_step(model) / 1e9
            figures["gflops"] = figures["gflop_per_step"] / figures["gradient_step_ms"] * 1e3
            figures["peak_mib"] = peak_bytes(model) / 2**20
        figures["bytes_per_transition"] = bytes_per_transition(model)
        result["models"][name] = figures
    result["phases_ms"] = split_by_phase(models["FlowSAC"], 4 * steps)
    return result


def show(result: dict[str, Any]) -> None:
    """Print ratios first."""
    print(
        f"\n{result['env']}, {result['threads']} thread(s), a matrix product runs at {result['matmul_gflops']:.0f} "
        f"GFLOP/s"
    )
    for name, row in result["models"].items():
        print(
            f"  {name:12s} {row['speed_over_sac']:5.2f} x SAC's speed: {row['env_steps_per_second']:.1f} "
            f"environment steps/s, "
            f"{row['gradient_step_ms']:.1f} ms a gradient step; {row['bytes_per_transition']:.0f} bytes a transition"
        )
        if "gflops" in row:
            print(
                f"           {row['gflop_per_step']:.2f} GFLOP a gradient step at {row['gflops']:.0f} GFLOP/s, "
                f"its tensors take {row['peak_mib']:.0f} MiB at most"
            )
        for n in (1, 64):
            for kind in ("deterministic", "stochastic"):
                key = f"predict_{n}_{kind}"
                print(
                    f"           predict, {n} {kind}: {row[f'{key}_over_sac']:.2f} x SAC's time, "
                    f"{row[f'{key}_ms']:.2f} ms"
                )
    total = sum(result["phases_ms"].values())
    print("  FlowSAC's gradient step by phase:")
    for name, value in sorted(result["phases_ms"].items(), key=lambda item: -item[1]):
        print(f"    {value / total:5.1%} {value:6.2f} ms  {name}")


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Speeds relative to SAC, for each environment and number of threads."""
    figure = Figure(figsize=(9.0, 3.5), layout="constrained")
    axes = figure.subplots()
    labels = [f"{result['env']}\n{result['threads']} thread(s)" for result in results]
    names = [name for name in MODELS if any(name in result["models"] for result in results)]
    for i, name in enumerate(names):
        heights = [result["models"].get(name, {}).get("speed_over_sac", 0.0) for result in results]
        axes.bar(
            np.arange(len(results)) + 0.8 * (i / len(names) - 0.5), heights, 0.8 / len(names), label=name, align="edge"
        )
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(results)), labels, fontsize=7)
    axes.set_ylabel("environment steps a second,\nrelative to SB3's SAC")
    axes.legend()
    save_figure(figure, path)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--env", nargs="+", default=["Pendulum-v1", "HalfCheetah-v5", "Humanoid-v5"], help="environment ids"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of torch threads")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in which each model is timed")
    parser.add_argument("--cycles", type=int, default=3, help="cycles of FlowSAC's actor updates in a round")
    parser.add_argument("--out", type=Path, default=Path("step_benchmark"), help="folder for results.json and the plot")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = []
    for env_id in arguments.env:
        try:
            gym.make(env_id).close()
        except gym.error.Error as error:
            print(f"{env_id} is left out: {error}")
            continue
        for threads in arguments.threads:
            results.append(measure(env_id, threads, arguments.rounds, arguments.cycles))
            show(results[-1])
            content = {"torch": torch.__version__, "rounds": arguments.rounds, "results": results}
            with replacing(arguments.out / "results.json") as file:
                file.write(json.dumps(content, indent=2).encode())
    if results:
        plot(results, arguments.out / "speed.png")


if __name__ == "__main__":
    main()
