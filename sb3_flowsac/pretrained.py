"""``flowsac enjoy --pretrained``: the trained agents of the repository, folders of ``save_policy`` by environment."""

from pathlib import Path

import numpy as np
import yaml
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_flowsac.checks import choice, integer
from sb3_flowsac.files.policy_folder import CARD, load_policy

AGENTS = Path(__file__).resolve().parent.parent / "agents"  # in a clone; the wheel has none


def enjoy(env_id: str, episodes: int, render: bool) -> str:
    """
    Play a trained agent without noise.

    :param env_id: environment that the repository has an agent for
    :param episodes: number of episodes, at least 1
    :param render: show them in a window
    :return: mean return and standard deviation of the episodes, beside those that the agent's model card names
    :raises ValueError: if there is no such agent
    """
    known = [path.parent.name for path in AGENTS.glob(f"*/{CARD}")]
    choice("--pretrained, in a clone of the repository,", env_id, known)
    front_matter = yaml.safe_load((AGENTS / env_id / CARD).read_text(encoding="utf-8").split("---\n")[1])
    said = front_matter["model-index"][0]["results"][0]["metrics"][0]["value"]
    policy = load_policy(AGENTS / env_id, device="cpu")
    env = make_vec_env(env_id, seed=0, env_kwargs={"render_mode": "human"} if render else None)
    returns, _ = evaluate_policy(policy, env, integer("episodes", episodes, 1), return_episode_rewards=True)
    env.close()
    return f"Return of {episodes} episodes: {np.mean(returns):.2f} +/- {np.std(returns):.2f}; its card says {said}"
