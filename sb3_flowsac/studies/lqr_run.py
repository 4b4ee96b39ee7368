"""One run of the LQR study: a model with the study's settings, trained, compared with the optimum and saved."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule

from maxent_envs import LQRProblem
from sb3_flowsac.callbacks import LQROptimalityCallback
from sb3_flowsac.flowsac import FlowSAC
from sb3_flowsac.studies.lqr_evaluation import EvaluationSettings, LearntPolicy, LQREvaluation, evaluate_policy_on_lqr

N_ENVS = 8
TIMESTEPS = 48_000
LEARNING_RATE = 1e-3
# Arguments of FlowSAC; gamma is the problem's and ent_coef the run's
MODEL_SETTINGS: dict[str, Any] = {
    "learning_rate": LinearSchedule(LEARNING_RATE, 0.05 * LEARNING_RATE, 1.0),
    "learning_starts": 10 * N_ENVS,  # ten steps of each environment: uniform actions soon throw an unstable system away
    "n_next_actions": 8,
    "policy_kwargs": {
        "squash_output": False,  # the optimum is a Gaussian
        "net_arch": {"pi": [64, 64], "qf": [128, 128]},
        "n_critics": 1,  # a minimum of two biases the covariance
        "quadratic_critic": True,
        "ode_steps": 2,
        "log_std_init": -1.5,
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
    env = make_vec_env("MaxEntLQR-v0", n_envs=N_ENVS, seed=seed, env_kwargs={**problem.to_dict(), "alpha": alpha})
    settings = {**MODEL_SETTINGS, "gamma": problem.gamma, "ent_coef": alpha, "seed": seed, **overrides}
    return FlowSAC("FlowPolicy", env, **settings)


def execute(spec: RunSpec, progress_bar: bool) -> RunResult:
    """
    Train one model, compare it with the optimum and save it.

    :param spec: the run
    :param progress_bar: whether to show Stable-Baselines3's progress bar
    :return: what it has found
    """
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
