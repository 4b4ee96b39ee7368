"""
On a GPU, in at most six minutes: a gradient step beside SAC's and TQC's for several batch sizes, its synchronisations
with the host, and whether FlowSAC learns as on the CPU.

    pip install -e ".[bench,mujoco]"
    python -m experiments.speed.gpu --out docs/calibration/gpu.json

Compiled steps come last, since each batch size is compiled anew; what the time does not allow is left out. Each part is
written as it ends. On a machine without a GPU, a look at how it goes: ``--device cpu --seconds 60``.
"""

import argparse
import json
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from experiments.runner.tasks import write_json
from experiments.speed.step import BATCH_SIZE, make_models, period
from sb3_flowsac import FlowSAC

EAGER, COMPILED = ("FlowSAC", "SAC", "TQC"), ("compiled",)
ROUNDS = 5


def milliseconds(model: OffPolicyAlgorithm, batch_size: int, steps: int) -> float:
    """
    A gradient step, the median of rounds; the first, with the compilation, does not count.

    :param model: past its warm-up
    :param batch_size: of the gradient steps
    :param steps: gradient steps of a round, a multiple of the rhythm of the actor's updates
    """
    times = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        model.train(steps, batch_size)
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / steps)
    return float(np.median(times[1:])) * 1e3


def synchronisations(model: OffPolicyAlgorithm, steps: int) -> dict[str, float]:
    """
    Where the host waits for the GPU, as torch's debug mode tells: times a gradient step, by file and line.

    :param model: on a GPU
    :param steps: gradient steps
    """
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.train(steps, BATCH_SIZE)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    places = Counter(f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message))
    return {place: count / steps for place, count in places.most_common()}


def learnt(device: str, steps: int) -> list[float]:
    """
    Returns on Pendulum-v1 after a short training: those of one device must be like those of the other.

    :param device: "cpu" or "cuda"
    :param steps: environment steps
    """
    model = FlowSAC("FlowPolicy", "Pendulum-v1", seed=0, device=device).learn(steps)
    returns, _ = evaluate_policy(model, model.get_env(), 20, return_episode_rewards=True)
    return [float(value) for value in returns]


def main() -> None:
    """Run all parts, the surest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="HalfCheetah-v5", help="environment of the gradient steps")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="where the gradient steps run")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[256, 1024, 4096, 8192], help="batch sizes")
    parser.add_argument("--steps", type=int, default=2500, help="environment steps of the training on each device")
    parser.add_argument("--seconds", type=float, default=330.0, help="no part is begun later than this")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="file for the figures")
    arguments = parser.parse_args()
    start, device = time.perf_counter(), arguments.device
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    result: dict[str, Any] = {"device": name, "torch": torch.__version__, "env": arguments.env}
    result["milliseconds"] = {}

    def keep(**found: Any) -> bool:
        result.update(found)
        write_json(arguments.out, result)
        print(json.dumps(found) if found else "", flush=True)
        return time.perf_counter() - start < arguments.seconds

    for names in (EAGER, COMPILED):
        models = make_models(arguments.env, names, device)
        for batch_size in arguments.batch_size:
            for model_name, model in models.items():
                found = result["milliseconds"].setdefault(model_name, {})
                found[batch_size] = round(milliseconds(model, batch_size, 4 * period(model)), 3)
                if not keep(milliseconds=result["milliseconds"]):
                    return
        if names is EAGER:
            if device == "cuda":
                keep(synchronisations_per_step=synchronisations(models["FlowSAC"], 60))
            going_on = keep(returns={device: learnt(device, arguments.steps)})
            if not (going_on and keep(returns={**result["returns"], "cpu": learnt("cpu", arguments.steps)})):
                return


if __name__ == "__main__":
    main()
