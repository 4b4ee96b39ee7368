"""SB3's callbacks, a callback of your own, TensorBoard, and evaluation with and without the policy's noise."""

import argparse

import gymnasium as gym
import torch
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from sb3_flowsac import FlowSAC


class EntropyCallback(BaseCallback):
    """Log the entropy of the policy, in the environment's units, at the latest observation."""

    def __init__(self, freq: int) -> None:
        super().__init__()
        self.freq = freq
        self.generator = torch.Generator()  # of its own: the run is the same as without the callback

    def _on_step(self) -> bool:
        if self.n_calls % self.freq == 0:
            assert isinstance(self.model, FlowSAC)
            entropy = self.model.policy.entropy(self.locals["new_obs"], generator=self.generator).mean().item()
            self.logger.record("policy/entropy", entropy)
        return True


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=10_000, help="environment steps")
steps = parser.parse_args().steps

every = max(steps // 10, 1)
model = FlowSAC("FlowPolicy", "Pendulum-v1", seed=0, tensorboard_log="runs", device="cpu")
model.learn(
    steps,
    callback=[
        EvalCallback(Monitor(gym.make("Pendulum-v1")), eval_freq=every, n_eval_episodes=3, best_model_save_path="best"),
        CheckpointCallback(save_freq=every, save_path="checkpoints"),
        EntropyCallback(freq=100),
    ],
)

best = FlowSAC.load("best/best_model", env=gym.make("Pendulum-v1"))
for deterministic in (True, False):
    mean, std = evaluate_policy(best, best.get_env(), n_eval_episodes=5, deterministic=deterministic)
    print(f"deterministic={deterministic}: mean return {mean:.0f} +/- {std:.0f}")
print("curves: tensorboard --logdir runs")
