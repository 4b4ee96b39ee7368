"""``flowsac show``: pictures of a saved model, in a folder and on one page."""

import html
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.vec_env import VecEnv

from maxent_envs import LQRProblem, Target
from sb3_flowsac.algorithm import FlowPolicy, FlowSAC
from sb3_flowsac.evaluation.known_optimum import task_of
from sb3_flowsac.evaluation.policies import temperature
from sb3_flowsac.files.loading import policy_of
from sb3_flowsac.files.writing import write_text
from sb3_flowsac.plotting import learning_curves, policy_figures, read_curve
from sb3_flowsac.plotting.overview import evenly_spaced
from sb3_flowsac.plotting.style import has_display, save_figures

N_OBSERVATIONS, N_STATES = 64, 3
ROLLOUT_STEPS = 200
LARGE = 1e30  # no bound is meant
PAGE = "index.html"
LEARNING_CURVE = "learning_curve"
CAPTIONS = {
    "action_density": "Density of the policy's actions in each state, in the environment's units; of pairs of "
    "components, brighter is denser.",
    "flow_paths": "Paths of 100 samples through the solver's steps: grey points are noise, blue points the actions.",
    "weights": "Importance weights of the proposals of the next improvement, in all 64 states. Left: N times the "
    "weight; at 1 (dashed) all proposals count alike. Right: effective sample size, at least 1/N (dotted).",
    "against_target": "The known optimal density (target) beside the policy's (learnt), over the whole action space.",
    "against_optimum": "Actions of the policy (blue) and the known optimum (black, dashed): ellipses at two standard "
    "deviations; with one input a histogram and the optimal density.",
    LEARNING_CURVE: "Mean return over environment steps, from the files beside the model: of evaluations, or of the "
    "training episodes, averaged over at most 100. A single point is a run with one of them.",
}
STYLE = (
    "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}img{max-width:100%}td,th{padding:0 1em}"
)


def states(
    saved: FlowSAC | FlowPolicy, env_id: str | None, env_kwargs: dict[str, Any] | None = None
) -> tuple[Any, Target | LQRProblem | None]:
    """
    The states in which a policy is drawn.

    :param saved: a model or a policy
    :param env_id: environment that it visits them in; if None they are drawn from its observation space
    :param env_kwargs: arguments of the environment
    :return: a batch of observations, and the environment's task if its optimum is known
    :raises ValueError: if the environment's spaces are not the policy's, it refuses its arguments, or there is none
        such
    """
    if env_id is None:
        space = batch_space(_with_infinite_bounds(policy_of(saved).observation_space), N_OBSERVATIONS)
        space.seed(0)
        return space.sample(), None
    try:
        env = FlowSAC._wrap_env(gym.make(env_id, **(env_kwargs or {})), verbose=0)
    except (gym.error.Error, TypeError) as error:
        raise ValueError(str(error)) from error
    return _visited(saved, env), task_of(env)


def show(
    saved: FlowSAC | FlowPolicy,
    path: Path,
    obs: Any,
    task: Target | LQRProblem | None = None,
    out: Path | None = None,
    source: str = "the observation space",
) -> list[Path]:
    """
    Draw a policy, and its learning curve if files of a ``Monitor`` or an ``EvalCallback`` lie beside it.

    :param saved: a model or a policy
    :param path: where it was saved
    :param obs: the states, see ``states``
    :param task: the environment's task if its optimum is known
    :param out: folder for the pictures; if None a folder beside the model, which is opened if there is a display
    :param source: where the states are from, for the page
    :return: the pictures
    """
    path, figures = path.resolve(), policy_figures(saved, obs, task, N_STATES)
    with suppress(ValueError):  # no such files
        figures[LEARNING_CURVE] = learning_curves({path.stem: [read_curve(path.parent)]})
    folder = path.with_name(f"{path.stem}_pictures") if out is None else out
    pictures = save_figures(figures, folder)
    write_text(folder / PAGE, _page(saved, path, evenly_spaced(obs, N_STATES), source, list(figures)))
    if out is None and has_display():
        webbrowser.open((folder / PAGE).resolve().as_uri())
    return pictures


def _page(saved: FlowSAC | FlowPolicy, path: Path, few: Any, source: str, names: list[str]) -> str:
    """The pictures with what they show: the model, its environment, the states and captions."""
    policy = policy_of(saved)
    facts = {
        "Model": path,
        "Policy": f"{type(policy).__name__}, {sum(p.numel() for p in policy.parameters()):,} parameters",
    }
    if isinstance(saved, FlowSAC):
        facts |= {"Trained for": f"{saved.num_timesteps:,} steps", "Temperature": f"{temperature(saved):.4g}"}
    facts |= {"Observations": policy.observation_space, "Actions": policy.action_space, "States from": source}
    for key, values in (few if isinstance(few, dict) else {"": few}).items():
        facts |= {f"State {i + 1} {key}": np.array2string(x, precision=3, threshold=20) for i, x in enumerate(values)}
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>\n" for k, v in facts.items())
    figures = "".join(
        f'<figure><img src="{name}.png" alt="{name}"><figcaption>{CAPTIONS[name]}</figcaption></figure>\n'
        for name in names
    )
    head = f'<!doctype html>\n<meta charset="utf-8"><title>{html.escape(path.name)}</title><style>{STYLE}</style>\n'
    return f"{head}<h1>{html.escape(path.name)}</h1>\n<table>\n{rows}</table>\n{figures}"


def _with_infinite_bounds(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The same space without bounds that only stand for none, where it would draw immense numbers."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict([(key, _with_infinite_bounds(inner)) for key, inner in space.spaces.items()])
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        return space
    low, high = (np.where(np.abs(bound) > LARGE, np.sign(bound) * np.inf, bound) for bound in (space.low, space.high))
    return spaces.Box(low.astype(space.dtype), high.astype(space.dtype), dtype=space.dtype.type)


def _visited(saved: FlowSAC | FlowPolicy, env: VecEnv) -> Any:
    """Observations from a rollout of the stochastic policy, evenly spaced."""
    policy = policy_of(saved)
    theirs, ours = (env.observation_space, env.action_space), (policy.observation_space, policy.action_space)
    if theirs != ours:
        raise ValueError(
            f"the environment's spaces are {theirs[0]} and {theirs[1]}, the model's {ours[0]} and {ours[1]}; "
            "has it been trained with other arguments of the environment?"
        )
    env.seed(0)
    torch.manual_seed(0)
    seen: list[Any] = [env.reset()]
    for _ in range(ROLLOUT_STEPS - 1):
        seen.append(env.step(saved.predict(seen[-1])[0])[0])
    if isinstance(seen[0], dict):
        return evenly_spaced({key: np.concatenate([each[key] for each in seen]) for key in seen[0]}, N_OBSERVATIONS)
    return evenly_spaced(np.concatenate(seen), N_OBSERVATIONS)
