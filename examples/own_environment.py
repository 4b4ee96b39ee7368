"""An environment of your own: a point in the plane that goes to the origin, trained on under its own id."""

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_flowsac import FlowSAC


class PointEnv(gym.Env[np.ndarray, np.ndarray]):
    """Go to the origin. FlowSAC needs a Box with finite bounds as the action space; observations may be of any kind."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.position = np.zeros(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1.0, 1.0, 2)
        return self.position.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.position = self.position + 0.2 * action
        distance = float(np.linalg.norm(self.position))
        return self.position.astype(np.float32), -distance, distance < 0.05, False, {}


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=3_000, help="environment steps")
steps = parser.parse_args().steps

check_env(PointEnv())  # says what does not follow Gymnasium's interface
gym.register("Point-v0", entry_point=PointEnv, max_episode_steps=50)

model = FlowSAC("FlowPolicy", gym.make("Point-v0"), seed=0)
model.learn(steps, progress_bar=True)
mean, std = evaluate_policy(model, model.get_env(), n_eval_episodes=10)
print(f"mean return {mean:.1f} +/- {std:.1f}")
