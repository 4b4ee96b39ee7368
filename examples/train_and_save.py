"""Train on Pendulum, save, load, evaluate, and ask the policy for samples and densities."""

import argparse

import gymnasium as gym
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_flowsac import FlowSAC

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=10_000, help="environment steps")
steps = parser.parse_args().steps

model = FlowSAC("FlowPolicy", "Pendulum-v1", seed=0, verbose=1)
model.learn(steps, log_interval=10)
model.save("pendulum")  # writes pendulum.zip

model = FlowSAC.load("pendulum", env=gym.make("Pendulum-v1"))
mean, std = evaluate_policy(model, model.get_env(), n_eval_episodes=5)
print(f"mean return {mean:.0f} +/- {std:.0f}")

observation = model.observation_space.sample()
action, _ = model.predict(observation, deterministic=True)
actions, log_prob = model.policy.sample(observation, n=1000)  # (1, 1000, 1) and (1, 1000)
print("deterministic action", action)
print("mean and spread of 1,000 actions", actions.mean().item(), actions.std().item())
print("entropy in nats", model.policy.entropy(observation).item())
