"""Reach a goal that is rewarded only when it is reached, with hindsight (HER)."""

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_flowsac import FlowSAC

Observation = dict[str, np.ndarray]


class ReachEnv(gym.Env[Observation, np.ndarray]):
    """Go to a random goal in the plane: reward 0 at the goal, -1 elsewhere."""

    def __init__(self) -> None:
        box = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"observation": box, "achieved_goal": box, "desired_goal": box})
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        self.goal = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self.position = np.clip(self.position + 0.2 * action, -2.0, 2.0).astype(np.float32)
        reward = float(self.compute_reward(self.position, self.goal, {}))
        return self._observation(), reward, False, False, {"is_success": reward == 0.0}

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, _info: Any) -> np.ndarray:
        """The reward of many transitions at once: the replay buffer asks for it when it puts other goals in."""
        return -(np.linalg.norm(achieved_goal - desired_goal, axis=-1) > 0.15).astype(np.float32)

    def _observation(self) -> Observation:
        return {
            "observation": self.position.copy(),
            "achieved_goal": self.position.copy(),
            "desired_goal": self.goal.copy(),
        }


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=5_000, help="environment steps")
steps = parser.parse_args().steps

gym.register("Reach-v0", entry_point=ReachEnv, max_episode_steps=25)
model = FlowSAC(
    "MultiInputPolicy",
    gym.make("Reach-v0"),
    gamma=0.95,
    ent_coef=0.05,
    replay_buffer_class=HerReplayBuffer,
    replay_buffer_kwargs=dict(n_sampled_goal=4, goal_selection_strategy="future"),
    seed=0,
)
model.learn(steps)
mean, std = evaluate_policy(model, model.get_env(), n_eval_episodes=20)
print(f"mean return {mean:.1f} +/- {std:.1f}; -25 is never at the goal")
