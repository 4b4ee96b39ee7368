"""
Returns under disturbances that training has not seen: does entropy buy robustness on a linear system?

What theory says. The optimum of every temperature has the same mean action -K x, so its deterministic controller is the
same function for every alpha and no entropy makes it more robust. Of the stochastic optimum, the dynamics being linear,
a bias or more process noise costs the same at every alpha: the actions' own noise adds a cost of its own that neither
changes. Under a mismatch of A that own cost changes in proportion to alpha. A loss *relative* to the undisturbed return
falls with alpha nonetheless where the noise makes that return worse to begin with: it is the loss that tells of
robustness. What can differ between learnt policies is how well each was fitted in the states to which a disturbance
drives it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import numpy as np
from rich.console import Console
from stable_baselines3 import SAC

from experiments.lqr.deterministic import DeterministicPolicy
from experiments.lqr.publish import publish
from experiments.lqr.robustness_report import figure, tables
from experiments.runner.tasks import Backend, Result, Task, run_tasks
from maxent_envs import LQRProblem, LQRSolution
from sb3_flowsac.algorithm import FlowSAC
from sb3_flowsac.checks import choice, integer, number
from sb3_flowsac.evaluation.policies import LearntPolicy, LinearPolicy, StochasticPolicy
from sb3_flowsac.evaluation.rollouts import NextState, rollouts


def _input_bias(problem: LQRProblem, magnitude: float) -> NextState:
    K = problem.solve(1.0).K  # the same for every temperature
    bias = magnitude * np.sqrt(np.diag(K @ problem.initial_cov @ K.T))
    return lambda x, u, z: problem.next_state(x, u + bias, z)


def _process_noise(problem: LQRProblem, magnitude: float) -> NextState:
    return lambda x, u, z: problem.next_state(x, u, magnitude * z)


def _scaled_dynamics(problem: LQRProblem, magnitude: float) -> NextState:
    return lambda x, u, z: problem.next_state(magnitude * x, u, z)


_DYNAMICS: dict[str, Callable[[LQRProblem, float], NextState]] = {
    "input bias": _input_bias,
    "process noise": _process_noise,
    "scaled A": _scaled_dynamics,
}


@dataclass(frozen=True)
class Disturbance:
    """
    A change of the dynamics x' = A x + B u + w; the reward stays that of the state and of the action chosen.

    - "input bias": x' = A x + B (u + b) + w, b being ``magnitude`` times the standard deviation of each optimal mean
    action
      at the first state, sqrt(diag(K X_0 K'));
    - "process noise": w has ``magnitude`` times its standard deviation;
    - "scaled A": A is multiplied by ``magnitude``.

    :param kind: which change
    :param magnitude: its size
    :raises ValueError: if the kind is unknown or the magnitude no finite number
    """

    kind: str
    magnitude: float

    def __post_init__(self) -> None:
        choice("kind", self.kind, _DYNAMICS)
        number("magnitude", self.magnitude)

    def next_state(self, problem: LQRProblem) -> NextState:
        """
        The disturbed dynamics.

        :param problem: the problem
        :return: a function of states, actions and standard normal numbers
        """
        return _DYNAMICS[self.kind](problem, self.magnitude)


DISTURBANCES = tuple(
    Disturbance(kind, magnitude)
    for kind, magnitudes in {
        "input bias": (0.1, 0.3, 1.0),
        "process noise": (2.0, 4.0, 8.0),
        "scaled A": (1.05, 1.1, 1.2),
    }.items()
    for magnitude in magnitudes
)


@dataclass(frozen=True)
class Controllers:
    """
    Two ways to act of one policy.

    :param stochastic: the policy
    :param deterministic: its deterministic controller
    """

    stochastic: StochasticPolicy
    deterministic: StochasticPolicy


@dataclass(frozen=True)
class SavedModel:
    """
    A learnt policy.

    :param path: the model's file
    :param algorithm: what has written it, FlowSAC or SAC
    """

    path: Path
    algorithm: type[FlowSAC | SAC] = FlowSAC

    def controllers(self) -> Controllers:
        """Both ways to act of the policy in the file."""
        model = self.algorithm.load(self.path, device="cpu")
        return Controllers(LearntPolicy(model), DeterministicPolicy(model))


Source: TypeAlias = LQRSolution | SavedModel


def run_robustness(
    *,
    policies: Mapping[str, Source],
    problem: LQRProblem,
    out: Path,
    disturbances: Sequence[Disturbance] = DISTURBANCES,
    n_rollouts: int = 2000,
    horizon: int = 100,
    seed: int = 0,
    jobs: int | Backend = 1,
) -> list[Result]:
    """
    Standard returns (no entropy) of policies under disturbances, on common random numbers.

    Writes ``robustness.json`` and ``robustness.png`` to ``out``, keeps each policy's rows under ``robustness``, prints
    a table for each kind of disturbance.

    :param policies: policies by label: saved models, and optima ``problem.solve(alpha)``, which have no Box
    :param problem: the problem that they are to control
    :param out: folder for the results, made if needed
    :param disturbances: what is changed
    :param n_rollouts: number of rollouts of each policy under each disturbance, at least 2
    :param horizon: number of steps of each
    :param seed: seed of all random numbers
    :param jobs: number of policies at the same time
    :return: the rows of ``disturbed_returns`` for each label and controller ("stochastic" or "deterministic"), with
        ``label``, ``controller`` and ``optimum``, whether the policy is a closed-form optimum
    :raises ValueError: if an argument is out of range
    """
    if not policies or not disturbances:
        raise ValueError(
            f"policies and disturbances must name at least one each, got {dict(policies)} and {disturbances}"
        )
    sizes = {
        "n_rollouts": integer("n_rollouts", n_rollouts, 2),
        "horizon": integer("horizon", horizon, 1),
        "seed": integer("seed", seed, 0),
    }
    out, console = Path(out), Console()
    given = {"problem": problem, "disturbances": tuple(disturbances), **sizes}
    settings = {"problem": problem.to_dict(), "disturbances": [asdict(change) for change in disturbances], **sizes}
    tasks = [
        Task(label, rows_of, {"label": label, "source": source, **given}, {"policy": _identity(source), **settings})
        for label, source in policies.items()
    ]
    rows = [row for result in run_tasks(tasks, out / "robustness", jobs, console) for row in result["rows"]]
    publish("robustness", rows, figure(rows), tables(rows), out, console)
    return rows


def _identity(source: Source) -> Result:
    if isinstance(source, LQRSolution):
        return {"optimum": source.problem.to_dict(), "alpha": source.alpha}
    return {"sha256": sha256(Path(source.path).read_bytes()).hexdigest(), "algorithm": source.algorithm.__name__}


def rows_of(
    label: str, source: Source, problem: LQRProblem, disturbances: Sequence[Disturbance], **sizes: int
) -> Result:
    """
    Rows of one policy, both of its controllers.

    :param label: its name
    :param source: where it comes from
    :param problem: the problem
    :param disturbances: what is changed
    :param sizes: n_rollouts, horizon and seed
    :return: ``{"rows": [...]}``
    """
    controllers = _controllers(source)
    return {
        "rows": [
            {"label": label, "controller": name, "optimum": isinstance(source, LQRSolution), **row}
            for name, policy in (("stochastic", controllers.stochastic), ("deterministic", controllers.deterministic))
            for row in disturbed_returns(policy, problem, disturbances, **sizes)
        ]
    }


def _controllers(source: Source) -> Controllers:
    if isinstance(source, LQRSolution):
        return Controllers(LinearPolicy(source), LinearPolicy(source, deterministic=True))
    return source.controllers()


def disturbed_returns(
    policy: StochasticPolicy,
    problem: LQRProblem,
    disturbances: Sequence[Disturbance],
    *,
    n_rollouts: int,
    horizon: int,
    seed: int,
) -> list[Result]:
    """
    Discounted standard returns of a policy under disturbances, beside its undisturbed one on common random numbers.

    :param policy: the policy
    :param problem: the problem
    :param disturbances: what is changed
    :param n_rollouts: number of rollouts for each, at least 2
    :param horizon: number of steps of each
    :param seed: seed of all random numbers
    :return: a row for each disturbance: kind, magnitude, undisturbed and return (means), loss (undisturbed - return)
        with its standard error loss_se, relative_loss (of the undisturbed return's size) and clip_fraction
    :raises OverflowError: if the policy lets the state leave float32's range
    """
    undisturbed, *disturbed = (
        rollouts(policy, problem, n_rollouts=n_rollouts, horizon=horizon, seed=seed, next_state=next_state)
        for next_state in (problem.next_state, *(disturbance.next_state(problem) for disturbance in disturbances))
    )
    rows = []
    for disturbance, found in zip(disturbances, disturbed, strict=True):
        losses, before = undisturbed.returns - found.returns, float(undisturbed.returns.mean())
        rows.append(
            {
                **asdict(disturbance),
                "undisturbed": before,
                "return": float(found.returns.mean()),
                "loss": float(losses.mean()),
                "loss_se": float(losses.std(ddof=1) / np.sqrt(n_rollouts)),
                "relative_loss": float(losses.mean() / abs(before)),
                "clip_fraction": found.clip_fraction,
            }
        )
    return rows
