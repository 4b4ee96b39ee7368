"""One run of the LQR study: a model trained, compared with the optimum and saved."""

import json
import time
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

from maxent_envs import LQRProblem
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.algorithm.critics import QuadraticCritic
from sb3_flowsac.callbacks import LQROptimalityCallback, ResumableCheckpoint
from sb3_flowsac.evaluation.lqr import EvaluationSettings, evaluate_policy_on_lqr
from sb3_flowsac.evaluation.policies import LearntPolicy
from sb3_flowsac.lqr_study.models import FLOWSAC, N_ENVS, Algorithm
from sb3_flowsac.lqr_study.tasks import Result, Task
from sb3_flowsac.lqr_study.verdict import verdict

TIMESTEPS = 40_000
FINAL_EVALUATION = EvaluationSettings(n_rollouts=2000, horizon=100, n_states=100, n_actions=4000, seed=1)
N_CURVE_POINTS = 20
CURVE_EVALUATION = EvaluationSettings(n_rollouts=100, horizon=100, n_states=25, n_actions=1000, seed=0)


@dataclass(frozen=True)
class RunSpec:
    """
    What a run needs to know; small and picklable, for it may travel to another process.

    :param problem: the problem to learn
    :param alpha: the temperature
    :param seed: the seed
    :param timesteps: number of environment steps
    :param out: folder of the study's results
    :param algorithm: what learns
    :param progress_bar: whether to show Stable-Baselines3's progress bar
    :param evaluation: size of the final comparison with the optimum
    :param curve_evaluation: size of the comparisons during training, for the learning curves
    """

    problem: LQRProblem
    alpha: float
    seed: int
    timesteps: int
    out: Path
    algorithm: Algorithm = FLOWSAC
    progress_bar: bool = False
    evaluation: EvaluationSettings = FINAL_EVALUATION
    curve_evaluation: EvaluationSettings = CURVE_EVALUATION

    @property
    def name(self) -> str:
        """Name of the run, for files and TensorBoard."""
        return f"{self.algorithm.name}-alpha-{self.alpha:g}-seed-{self.seed}"

    @property
    def model(self) -> Path:
        """Where the run keeps its model."""
        return self.out / "runs" / self.name / "model.zip"

    @property
    def checkpoints(self) -> Path:
        """Where the run keeps what it needs to go on after an interruption; of other settings, elsewhere."""
        digest = sha256(json.dumps(self.settings).encode()).hexdigest()
        return self.model.parent / f"checkpoints-{digest[:12]}"

    @property
    def settings(self) -> dict[str, Any]:
        """All that the run's result depends on, in JSON's terms."""
        return {
            "problem": self.problem.to_dict(),
            "alpha": self.alpha,
            "seed": self.seed,
            "timesteps": self.timesteps,
            "evaluation": asdict(self.evaluation),
            "curve_evaluation": {**asdict(self.curve_evaluation), "points": N_CURVE_POINTS},
            "model": self.algorithm.identity,
        }

    def task(self) -> Task:
        """The run as a task whose result is kept beside its model."""
        return Task(f"runs/{self.name}/result", execute, {"spec": self}, self.settings)


def execute(spec: RunSpec) -> Result:
    """
    Train one model, compare it with the optimum and save it.

    :param spec: the run
    :return: ``row``, the run's entry in results.json; ``history``, the callback's evaluations (see
        ``LQROptimalityCallback.history``); ``examples``, actions drawn in three states
    """
    start = time.perf_counter()
    log = str(spec.out / "tensorboard")
    model = spec.algorithm.make(spec.problem, spec.alpha, spec.seed, tensorboard_log=log)
    eval_freq = max(1, spec.timesteps // N_ENVS // N_CURVE_POINTS)
    callback = LQROptimalityCallback(eval_freq, **asdict(spec.curve_evaluation))
    callbacks: list[BaseCallback] = [callback]
    if isinstance(model, FlowSAC):
        callbacks.append(ResumableCheckpoint(spec.checkpoints, eval_freq))
    model.learn(spec.timesteps, callback=callbacks, tb_log_name=spec.name, progress_bar=spec.progress_bar)
    if model.env is not None:
        model.env.close()
    evaluation = evaluate_policy_on_lqr(LearntPolicy(model), spec.problem.solve(spec.alpha), spec.evaluation)
    spec.model.parent.mkdir(parents=True, exist_ok=True)
    model.save(spec.model)
    row = {
        "algorithm": spec.algorithm.name,
        "alpha": spec.alpha,
        "seed": spec.seed,
        **evaluation.metrics(),
        "seconds": round(time.perf_counter() - start, 1),
        "horizon": spec.evaluation.horizon,
        "timesteps": model.num_timesteps,
        "updates": model._n_updates,
        "model": str(spec.model.relative_to(spec.out)),
        "critic_residual": _critic_residual(model),
    }
    row["verdict"] = verdict(row)
    examples = {
        "states": evaluation.errors.example_states.tolist(),
        "actions": evaluation.errors.example_actions.round(6).tolist(),
    }
    return {"row": row, "history": callback.history, "examples": examples}


def _critic_residual(model: FlowSAC | SAC) -> float | None:
    """What a quadratic critic's last regression left unexplained, as a share of its targets' variance."""
    if not (isinstance(model, FlowSAC) and isinstance(model.critic, QuadraticCritic)):
        return None
    return float(model.critic.residual)
