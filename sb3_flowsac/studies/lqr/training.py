"""One run of the LQR study: a model with the study's settings, trained, compared with the optimum and saved."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule

from maxent_envs import LQRProblem
from sb3_flowsac.callbacks import LQROptimalityCallback
from sb3_flowsac.flowsac import FlowSAC
from sb3_flowsac.studies.lqr.evaluation import EvaluationSettings, LearntPolicy, LQREvaluation, evaluate_policy_on_lqr

N_ENVS = 8
EPISODE_STEPS = 10  # short: uniform warm-up actions do not throw an unstable system far, and states near x_0 are seen often
TIMESTEPS = 40_000
LEARNING_RATE = 2e-3
ACTION_NOISE = 0.2  # in scaled actions: lets the critic tell the state's part of its quadratic form from the action's
# Arguments of FlowSAC; gamma is the problem's and ent_coef the run's
MODEL_SETTINGS: dict[str, Any] = {
    "learning_rate": LinearSchedule(LEARNING_RATE, 0.02 * LEARNING_RATE, 1.0),
    "learning_starts": 25 * N_ENVS,
    "buffer_size": 12_000,  # forgets the first policies, whose large states would dominate the critic's error
    "tau": 0.05,
    "n_next_actions": 4,
    "policy_kwargs": {
        "squash_output": False,  # the optimum is a Gaussian
        "net_arch": [64, 64],
        "n_critics": 1,  # a minimum of two biases the covariance
        "critic_form": "quadratic",  # the exact shape of the problem's Q function
        "ode_steps": 2,
        "density": "trace",
        "log_std_init": -1.4,
        "optimizer_kwargs": {"betas": (0.9, 0.99)},  # recovers sooner from the first, large errors
    },
}
FINAL_EVALUATION = EvaluationSettings(n_rollouts=2000, horizon=100, n_states=100, n_actions=4000, seed=1)
N_CURVE_POINTS = 10
CURVE_EVALUATION = EvaluationSettings(n_rollouts=200, horizon=100, n_states=25, n_actions=1000, seed=0)


@dataclass(frozen=True)
class RunSpec:
    """
    What a run needs to know; small and picklable, for it may travel to another process.

    :param problem: the problem to learn
    :param alpha: the temperature
    :param seed: the seed
    :param timesteps: number of environment steps
    :param out: folder of the study's results
    :param evaluation: size of the final comparison with the optimum
    :param curve_evaluation: size of the comparisons during training, for the learning curves
    """

    problem: LQRProblem
    alpha: float
    seed: int
    timesteps: int
    out: Path
    evaluation: EvaluationSettings = FINAL_EVALUATION
    curve_evaluation: EvaluationSettings = CURVE_EVALUATION

    @property
    def name(self) -> str:
        """Name of the run, for files and TensorBoard."""
        return f"alpha-{self.alpha}-seed-{self.seed}"

    @property
    def folder(self) -> Path:
        """Where the run keeps its model."""
        return self.out / "runs" / self.name


@dataclass(frozen=True)
class RunResult:
    """
    What a run has found.

    :param spec: the run
    :param row: its entry in results.json
    :param history: the callback's evaluations, see ``LQROptimalityCallback.history``
    :param evaluation: the final comparison with the optimum
    """

    spec: RunSpec
    row: dict[str, Any]
    history: list[dict[str, float]]
    evaluation: LQREvaluation


def lqr_model(problem: LQRProblem, alpha: float, seed: int, **overrides: Any) -> FlowSAC:
    """
    A FlowSAC model with the study's settings, on eight copies of MaxEntLQR-v0.

    :param problem: the problem to learn
    :param alpha: the temperature; the action Box is derived from it
    :param seed: seed of model and environments
    :param overrides: arguments of FlowSAC that replace or extend the study's
    :return: the model, not yet trained
    """
    env_kwargs = {**problem.to_dict(), "alpha": alpha, "max_episode_steps": EPISODE_STEPS}
    env = make_vec_env("MaxEntLQR-v0", n_envs=N_ENVS, seed=seed, env_kwargs=env_kwargs)
    n_inputs = problem.n_inputs
    noise = NormalActionNoise(np.zeros(n_inputs), np.full(n_inputs, ACTION_NOISE))
    of_problem = {"gamma": problem.gamma, "ent_coef": alpha, "action_noise": noise, "seed": seed}
    settings = {**MODEL_SETTINGS, **of_problem, **overrides}
    return FlowSAC("FlowPolicy", env, **settings)


def execute(spec: RunSpec, progress_bar: bool) -> RunResult:
    """
    Train one model, compare it with the optimum and save it.

    :param spec: the run
    :param progress_bar: whether to show Stable-Baselines3's progress bar
    :return: what it has found
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # no slower for networks of this size, and far faster where another process wants the cores
    try:
        return _execute(spec, progress_bar)
    finally:
        torch.set_num_threads(threads)


def _execute(spec: RunSpec, progress_bar: bool) -> RunResult:
    start = time.perf_counter()
    model = lqr_model(spec.problem, spec.alpha, spec.seed, tensorboard_log=str(spec.out / "tensorboard"))
    eval_freq = max(1, spec.timesteps // N_ENVS // N_CURVE_POINTS)
    callback = LQROptimalityCallback(eval_freq, **asdict(spec.curve_evaluation))
    model.learn(spec.timesteps, callback=callback, tb_log_name=spec.name, progress_bar=progress_bar)
    if model.env is not None:
        model.env.close()
    evaluation = evaluate_policy_on_lqr(LearntPolicy(model), spec.problem.solve(spec.alpha), spec.evaluation)
    spec.folder.mkdir(parents=True, exist_ok=True)
    model.save(spec.folder / "model.zip")
    row = {
        "alpha": spec.alpha,
        "seed": spec.seed,
        **evaluation.metrics(),
        "seconds": round(time.perf_counter() - start, 1),
        "timesteps": model.num_timesteps,
        "model": str((spec.folder / "model.zip").relative_to(spec.out)),
    }
    write_json(spec.folder / "history.json", callback.history)
    return RunResult(spec, row, callback.history, evaluation)


def write_json(path: Path, content: object) -> None:
    """
    Write a JSON file whole or not at all: to a temporary file beside it, which then takes its name.

    :param path: the file
    :param content: what JSON can hold
    """
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
