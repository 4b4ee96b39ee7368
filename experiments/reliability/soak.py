"""
A long run that should leak nothing, slow down nowhere and not unlearn: FlowSAC on MaxEntLQR-v0 for a million steps.

The model is the LQR study's with a constant learning rate, which no decay can make look steady, and one gradient step
for 64 environment steps: three times the gradient steps of the study's own run, in minutes. Memory, speed and the
errors against the optimum are written after every hundredth of the run, so that a run that is stopped leaves what it
has found.

    python -m experiments.reliability.soak --out soak                 # about ten minutes on a core of its own
    python -m experiments.reliability.soak --out soak --summary-only  # summary and plot of the records that are there
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import linregress
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import unwrap_wrapper
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from experiments.runner.tasks import write_json
from maxent_envs import preset
from sb3_flowsac import FlowSAC
from sb3_flowsac.evaluation.lqr import evaluate_policy_on_lqr
from sb3_flowsac.evaluation.policies import LearntPolicy
from sb3_flowsac.lqr_study.models import N_ENVS, lqr_model
from sb3_flowsac.lqr_study.training import CURVE_EVALUATION

ALPHA = 0.5
LEARNING_RATE = 5e-4
STEPS_BETWEEN_UPDATES = 64
WARM_UP = (
    0.2  # share of the run before its slopes are measured: the buffer fills, allocators and caches reach their size
)
ERRORS = ("mean_error", "cov_error")
LOG_INTERVAL = 1000  # episodes of ten steps


def resident_mib() -> float:
    """Memory that the process holds now, in MiB (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmRSS")


class SoakCallback(BaseCallback):
    """
    Record memory, speed, warnings and errors against the optimum, and write them to a file each time.

    SB3's ``Monitor`` remembers return, length and time of every episode; what it has gathered is forgotten at each
    record, so that the memory measured is that of everything else.

    Speed is in environment steps per second of processor time, which other programs do not disturb; the comparison with
    the optimum is not counted.

    :param path: file of the records
    :param every: environment steps between two records
    """

    def __init__(self, path: Path, every: int) -> None:
        super().__init__()
        self.path, self.every = path, every
        self.records: list[dict[str, float]] = []
        self.n_warnings = 0
        self._last = (0, 0.0, 0.0)

    def _on_training_start(self) -> None:
        self._last = (0, time.process_time(), time.perf_counter())

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.every * (len(self.records) + 1):
            self._take_record()
        return True

    def _take_record(self) -> None:
        steps, processor, wall = self._last
        done = self.num_timesteps - steps
        record = {
            "timesteps": self.num_timesteps,
            "steps_per_processor_second": done / (time.process_time() - processor),
            "steps_per_second": done / (time.perf_counter() - wall),
            "rss_mib": resident_mib(),
            "warnings": self.n_warnings,
            **self._errors(),
        }
        self.records.append(record)
        self._forget_episodes()
        write_json(self.path, self.records)
        self._last = (self.num_timesteps, time.process_time(), time.perf_counter())

    def _forget_episodes(self) -> None:
        assert isinstance(self.training_env, DummyVecEnv)
        for env in self.training_env.envs:
            monitor = unwrap_wrapper(env, Monitor)
            assert isinstance(monitor, Monitor)
            for gathered in (monitor.episode_returns, monitor.episode_lengths, monitor.episode_times):
                gathered.clear()

    def _errors(self) -> dict[str, float]:
        assert isinstance(self.model, FlowSAC)
        problem = self.training_env.get_attr("problem")[0]
        return evaluate_policy_on_lqr(LearntPolicy(self.model), problem.solve(ALPHA), CURVE_EVALUATION).metrics()


def run(path: Path, timesteps: int, seed: int) -> None:
    """Train, and count every warning on the way."""
    learning = {
        "learning_rate": LEARNING_RATE,
        "train_freq": STEPS_BETWEEN_UPDATES // N_ENVS,
        "tensorboard_log": str(path.parent / "tensorboard"),
    }
    model = lqr_model(preset(), ALPHA, seed, **learning)
    callback = SoakCallback(path, timesteps // 100)

    def count(message: Warning | str, *_: Any, **__: Any) -> None:
        callback.n_warnings += 1
        print(f"warning: {message}", flush=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = count
        model.learn(timesteps, callback=callback, log_interval=LOG_INTERVAL)


def slope(steps: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Least-squares slope for a million environment steps, with its standard error."""
    fit = linregress(steps / 1e6, values)
    return {"slope": float(fit.slope), "standard_error": float(fit.stderr)}


def summarize(records: list[dict[str, float]]) -> dict[str, Any]:
    """Slopes of memory and speed after the warm-up; errors around a tenth of the way (5% to 15%) and in the last
    tenth."""
    column = {key: np.array([record[key] for record in records]) for key in records[0]}
    steps, total = column["timesteps"], column["timesteps"][-1]
    steady = steps > WARM_UP * total
    early, late = (steps > 0.05 * total) & (steps <= 0.15 * total), steps > 0.9 * total
    return {
        "environment": "MaxEntLQR-v0",
        "alpha": ALPHA,
        "learning_rate": LEARNING_RATE,
        "steps_between_updates": STEPS_BETWEEN_UPDATES,
        "timesteps": int(total),
        "warm_up": WARM_UP,
        "warnings": int(column["warnings"][-1]),
        "rss_mib_per_million_steps": slope(steps[steady], column["rss_mib"][steady]),
        "rss_mib_at_warm_up_and_end": [float(column["rss_mib"][steady][0]), float(column["rss_mib"][-1])],
        "speed_percent_per_million_steps": slope(steps[steady], relative(column["steps_per_processor_second"][steady])),
        "steps_per_processor_second": float(np.median(column["steps_per_processor_second"][steady])),
        **{
            f"{name}_at_a_tenth_and_end": [float(column[name][part].mean()) for part in (early, late)]
            for name in ERRORS
        },
        "torch": torch.__version__,
    }


def relative(values: np.ndarray) -> np.ndarray:
    """Values as percentages of their median."""
    return 100 * values / np.median(values)


def plot(records: list[dict[str, float]], path: Path) -> None:
    """Memory, speed and errors over the run."""
    figure = Figure(figsize=(7, 6.5), layout="constrained")
    memory, speed, errors = figure.subplots(3, 1, sharex=True)
    steps = [record["timesteps"] for record in records]
    memory.plot(steps, [record["rss_mib"] for record in records])
    memory.set(ylabel="resident memory (MiB)", ylim=(0, None))
    speed.plot(steps, [record["steps_per_processor_second"] for record in records])
    speed.set(ylabel="steps / processor second", ylim=(0, None))
    for name, label in zip(ERRORS, ("mean", "covariance"), strict=True):
        errors.plot(steps, [100 * record[name] for record in records], label=label)
    errors.set(ylabel="error (%)", yscale="log", xlabel="environment steps")
    errors.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timesteps", type=int, default=1_000_000, help="environment steps, at least 1,000")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--out", type=Path, default=Path("soak"), help="folder for records, summary and plot")
    parser.add_argument(
        "--summary-only", action="store_true", help="train nothing: summary and plot of the records there"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    records_file = arguments.out / "records.json"
    if not arguments.summary_only:
        run(records_file, arguments.timesteps, arguments.seed)
    records = json.loads(records_file.read_text(encoding="utf-8"))
    summary = summarize(records)
    write_json(arguments.out / "soak.json", {"summary": summary, "records": records})
    plot(records, arguments.out / "soak.png")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
