"""Images as observations: a dot to be moved to the centre, seen in frames of 36 x 36 bytes."""

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack

from sb3_flowsac import FlowSAC

SIZE = 36


class DotEnv(gym.Env[np.ndarray, np.ndarray]):
    """A white dot on black; the reward is minus its distance from the centre."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (SIZE, SIZE, 1), np.uint8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.position = np.zeros(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1.0, 1.0, 2)
        return self._image(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.position = np.clip(self.position + 0.3 * action, -1.0, 1.0)
        return self._image(), -float(np.linalg.norm(self.position)), False, False, {}

    def _image(self) -> np.ndarray:
        image = np.zeros((SIZE, SIZE, 1), np.uint8)
        row, column = ((self.position + 1.0) / 2.0 * (SIZE - 5)).astype(int)
        image[row : row + 5, column : column + 5] = 255
        return image


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=3_000, help="environment steps")
steps = parser.parse_args().steps

env = VecFrameStack(make_vec_env(lambda: TimeLimit(DotEnv(), 20), seed=0), n_stack=2)
model = FlowSAC(
    "CnnPolicy",
    env,
    buffer_size=5_000,  # an image takes more memory than a vector
    batch_size=64,
    gamma=0.9,
    policy_kwargs=dict(net_arch=[64, 64], features_extractor_kwargs=dict(features_dim=64)),
    seed=0,
)
model.learn(steps)
mean, std = evaluate_policy(model, env, n_eval_episodes=10)
print(f"mean return {mean:.1f} +/- {std:.1f}")
