"""
Learning curves of FlowSAC beside SB3's SAC, both with all arguments at their defaults, on MuJoCo's control tasks.

Each run is trained on one thread; its deterministic policy is evaluated in an environment of its own as training goes
on. Finished runs are kept in the folder and not run again; an interrupted FlowSAC run goes on from its last checkpoint.

    pip install -e ".[mujoco]"
    python experiments/benchmarks/control.py --out control                # 8 runs of about half an hour each
    python experiments/benchmarks/control.py --out control --jobs 2       # two at a time
    python experiments/benchmarks/control.py --out control --algo sac     # only some of them; all results are drawn
"""

import argparse
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.monitor import Monitor

from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import ResumableCheckpoint
from sb3_flowsac.lqr_study.tasks import Result, Task, kept_result, run_tasks, write_json
from sb3_flowsac.lqr_study.versions import machine, versions
from sb3_flowsac.plotting import save_figure

ALGORITHMS: dict[str, type[FlowSAC] | type[SAC]] = {"flowsac": FlowSAC, "sac": SAC}
POLICIES = {"flowsac": "FlowPolicy", "sac": "MlpPolicy"}
ENVIRONMENTS = ("HalfCheetah-v5", "Hopper-v5")
COLOURS = {"flowsac": "tab:blue", "sac": "tab:orange"}
EVALUATION_SEED = 1000  # added to the run's seed
LAST = 3  # evaluations whose mean is a run's return at the end


class Curve(EvalCallback):
    """SB3's evaluation, with what it has found so far in the checkpoints."""

    def get_state(self) -> dict[str, Any]:
        """Steps, returns and lengths of the evaluations so far."""
        return {
            "timesteps": self.evaluations_timesteps,
            "returns": [[float(value) for value in row] for row in self.evaluations_results],
            "lengths": [[int(value) for value in row] for row in self.evaluations_length],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with the evaluations of a checkpoint."""
        self.evaluations_timesteps = state["timesteps"]
        self.evaluations_results, self.evaluations_length = state["returns"], state["lengths"]


def train(algo: str, env_id: str, seed: int, steps: int, every: int, episodes: int, folder: str) -> Result:
    """
    Train one model.

    :return: steps of the evaluations, the return of each of their episodes, and seconds of processor time
    """
    path = Path(folder) / f"{algo}-{env_id}-{seed}"
    evaluation_env = Monitor(gym.make(env_id))
    evaluation_env.reset(seed=EVALUATION_SEED + seed)
    evaluate = Curve(evaluation_env, n_eval_episodes=episodes, eval_freq=every, log_path=str(path), verbose=0)
    callbacks: list[BaseCallback] = [evaluate]
    if algo == "flowsac":
        callbacks.append(ResumableCheckpoint(path / "checkpoints", save_freq=10_000))
    model = ALGORITHMS[algo](POLICIES[algo], env_id, seed=seed, tensorboard_log=str(path), device="cpu")
    start = time.process_time()
    model.learn(steps, callback=callbacks, tb_log_name=algo)
    model.save(path / "model")
    curve = np.load(path / "evaluations.npz")
    return {
        "timesteps": curve["timesteps"].tolist(),
        "returns": curve["results"].tolist(),
        "processor_seconds": time.process_time() - start,
    }


def tasks(arguments: argparse.Namespace) -> list[Task]:
    """All runs of the benchmark, also those that the command line has not chosen."""
    found = []
    for algo in ALGORITHMS:
        for env_id in arguments.env:
            for seed in arguments.seed:
                settings: dict[str, Any] = {
                    "algo": algo,
                    "env_id": env_id,
                    "seed": seed,
                    "steps": arguments.steps,
                    "every": arguments.eval_freq,
                    "episodes": arguments.eval_episodes,
                }
                name = f"runs/{algo}-{env_id}-{seed}"
                found.append(Task(name, train, {**settings, "folder": str(arguments.out)}, settings))
    return found


def summary(results: list[tuple[Task, Result]]) -> list[dict[str, Any]]:
    """For each run its evaluations and the return at its end: the mean over the last of them."""
    return [
        {**task.settings, **result, "final_return": float(np.mean(result["returns"][-LAST:]))}
        for task, result in results
    ]


def draw(results: list[tuple[Task, Result]]) -> Figure:
    """Curves of all seeds, one panel for each environment."""
    names = list(dict.fromkeys(task.settings["env_id"] for task, _ in results))
    figure = Figure(figsize=(5.0 * len(names), 3.6), layout="constrained")
    panels = dict(zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True))
    for task, result in results:
        axes, algo = panels[task.settings["env_id"]], task.settings["algo"]
        label = algo if task.settings["seed"] == min(t.settings["seed"] for t, _ in results) else None
        axes.plot(result["timesteps"], np.mean(result["returns"], axis=1), color=COLOURS[algo], label=label)
    for name, axes in panels.items():
        axes.set(title=name, xlabel="environment steps", ylabel="return of the deterministic policy")
        axes.legend()
    return figure


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("control"), help="folder of the results")
    parser.add_argument("--algo", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS), help="what to train")
    parser.add_argument("--env", nargs="+", default=list(ENVIRONMENTS), help="environments")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1], help="random seeds")
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps of each run")
    parser.add_argument("--eval-freq", type=int, default=5_000, help="environment steps between evaluations")
    parser.add_argument("--eval-episodes", type=int, default=5, help="episodes of each evaluation")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    arguments = parser.parse_args()
    every_task = tasks(arguments)
    run_tasks(
        [task for task in every_task if task.settings["algo"] in arguments.algo],
        arguments.out,
        arguments.jobs,
        Console(),
    )
    results = [(task, kept) for task in every_task if (kept := kept_result(task, arguments.out)) is not None]
    rows = summary(results)
    write_json(arguments.out / "results.json", {"versions": versions(), "machine": machine(), "runs": rows})
    save_figure(draw(results), arguments.out / "curves.png")
    for row in rows:
        print(f"{row['algo']:8s} {row['env_id']:16s} seed {row['seed']}: return {row['final_return']:8.1f}")


if __name__ == "__main__":
    main()
