"""One run of the LQR study: a model trained, compared with the optimum and saved."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stable_baselines3 import SAC

from maxent_envs import LQRProblem
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.algorithm.critics import QuadraticCritic
from sb3_flowsac.callbacks import LQROptimalityCallback
from sb3_flowsac.evaluation.lqr import EvaluationSettings, evaluate_policy_on_lqr
from sb3_flowsac.evaluation.policies import LearntPolicy
from sb3_flowsac.lqr_study.models import lqr_model
from sb3_flowsac.lqr_study.verdict import verdict

Result = dict[str, Any]

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
    :param algorithm: name of what learns, in files and tables
    :param make: makes its model of a problem, a temperature, a seed and keyword arguments of its class
    :param progress_bar: whether to show Stable-Baselines3's progress bar
    :param evaluation: size of the final comparison with the optimum
    :param curve_evaluation: size of the comparisons during training, for the learning curves
    """

    problem: LQRProblem
    alpha: float
    seed: int
    timesteps: int
    out: Path
    algorithm: str = "flowsac"
    make: Callable[..., FlowSAC | SAC] = lqr_model
    progress_bar: bool = False
    evaluation: EvaluationSettings = FINAL_EVALUATION
    curve_evaluation: EvaluationSettings = CURVE_EVALUATION

    @property
    def name(self) -> str:
        """Name of the run, for files and TensorBoard."""
        return f"{self.algorithm}-alpha-{self.alpha:g}-seed-{self.seed}"

    @property
    def folder(self) -> Path:
        """Where the run keeps its model and its result."""
        return self.out / "runs" / self.name

    @property
    def settings(self) -> dict[str, Any]:
        """All that the run's result depends on besides the code, in JSON's terms."""
        return {
            "problem": self.problem.to_dict(),
            "alpha": self.alpha,
            "seed": self.seed,
            "timesteps": self.timesteps,
            "evaluation": asdict(self.evaluation),
            "curve_evaluation": {**asdict(self.curve_evaluation), "points": N_CURVE_POINTS},
        }


def execute(spec: RunSpec) -> Result:
    """
    Train one model, compare it with the optimum and save it.

    :param spec: the run
    :return: ``row``, the run's entry in results.json; ``history``, the callback's evaluations (see
        ``LQROptimalityCallback.history``); ``examples``, actions drawn in three states
    """
    start = time.perf_counter()
    model = spec.make(spec.problem, spec.alpha, spec.seed, tensorboard_log=str(spec.out / "tensorboard"))
    eval_freq = max(1, spec.timesteps // model.n_envs // N_CURVE_POINTS)
    callback = LQROptimalityCallback(eval_freq, **asdict(spec.curve_evaluation))
    model.learn(spec.timesteps, callback=callback, tb_log_name=spec.name, progress_bar=spec.progress_bar)
    if model.env is not None:
        model.env.close()
    evaluation = evaluate_policy_on_lqr(LearntPolicy(model), spec.problem.solve(spec.alpha), spec.evaluation)
    spec.folder.mkdir(parents=True, exist_ok=True)
    path = spec.folder / "model.zip"
    model.save(path)
    row = {
        "algorithm": spec.algorithm,
        "alpha": spec.alpha,
        "seed": spec.seed,
        **evaluation.metrics(),
        "seconds": round(time.perf_counter() - start, 1),
        "horizon": spec.evaluation.horizon,
        "timesteps": model.num_timesteps,
        "updates": model._n_updates,
        "model": path.relative_to(spec.out).as_posix(),
        # What the critic's last regression left unexplained, as a share of its targets' variance
        "critic_residual": float(model.critic.residual) if isinstance(model.critic, QuadraticCritic) else None,
    }
    row["verdict"] = verdict(row)
    examples = {
        "states": evaluation.errors.example_states.tolist(),
        "actions": evaluation.errors.example_actions.round(6).tolist(),
    }
    return {"row": row, "history": callback.history, "examples": examples}
