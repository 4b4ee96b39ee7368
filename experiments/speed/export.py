"""
Time of one call: torch's predict beside onnxruntime, for 1 and 64 observations. Needs the extra ``export``.

    python -m experiments.speed.export

The models are new ones with FlowSAC's default networks, on one thread. Each figure is the median processor time of
calls that take turns: other programs that run delay a call but are not counted. The deterministic actions of both are
compared first.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from gymnasium import spaces

from sb3_flowsac import FlowPolicy, export_onnx

SIZES = {"Pendulum-v1": (3, 1), "HalfCheetah-v5": (17, 6), "Humanoid-v5": (348, 17)}
"""Numbers in an observation and in an action, of the environments of docs/speed.md."""


def make_policy(n_obs: int, n_actions: int) -> FlowPolicy:
    """A new policy whose flow is not at its start, where it is zero."""
    torch.manual_seed(0)
    policy = FlowPolicy(
        spaces.Box(-np.inf, np.inf, (n_obs,)), spaces.Box(-1.0, 1.0, (n_actions,)), lambda _: 1e-3
    ).cpu()
    with torch.no_grad():
        for parameter in policy.actor.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))
    return policy


def load(policy: FlowPolicy, folder: Path, deterministic: bool) -> onnxruntime.InferenceSession:
    """The policy in onnxruntime, on one thread."""
    path = folder / f"policy_{deterministic}.onnx"
    export_onnx(policy, path, deterministic)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def medians(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median milliseconds of processor time of each call, in turns."""
    times = np.zeros((rounds, len(calls)))
    for row in times:
        for i, call in enumerate(calls):
            start = time.process_time()
            call()
            row[i] = time.process_time() - start
    return [float(value) for value in 1e3 * np.median(times, axis=0)]


def measure(
    policy: FlowPolicy, session: onnxruntime.InferenceSession, batch: int, deterministic: bool, rounds: int
) -> list[float]:
    """Milliseconds of torch and of onnxruntime, noise drawn by both."""
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((batch, *policy.observation_space.shape), np.float32)
    shape = (batch, 1, *policy.action_space.shape)

    def with_onnx() -> np.ndarray:
        noise = {} if deterministic else {"noise": rng.standard_normal(shape, np.float32)}
        return session.run(None, {"observation": obs, **noise})[0]

    if deterministic:
        np.testing.assert_allclose(with_onnx(), policy.predict(obs, deterministic=True)[0], atol=1e-5)
    return medians([lambda: policy.predict(obs, deterministic=deterministic), with_onnx], rounds)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300, help="calls of each")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(
        "| sizes of | prediction | observations | torch, ms | onnxruntime, ms | ratio |\n| --- | --- | --- | --- | "
        "--- | --- |"
    )
    for name, sizes in SIZES.items():
        policy = make_policy(*sizes)
        for deterministic in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                session = load(policy, Path(folder), deterministic)
            for batch in (1, 64):
                torch_ms, onnx_ms = measure(policy, session, batch, deterministic, rounds)
                kind = "deterministic" if deterministic else "stochastic"
                print(
                    f"| {name} | {kind} | {batch} | {torch_ms:.2f} | {onnx_ms:.2f} | {torch_ms / onnx_ms:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
