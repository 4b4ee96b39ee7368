"""Four modes that turn with the state: how far the learnt density is from the optimum's, and what share each mode
has."""

import argparse

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch

from maxent_envs import BoltzmannBanditEnv
from sb3_flowsac import FlowSAC

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=10_000, help="environment steps")
steps = parser.parse_args().steps

# The optimum at ent_coef = temperature is the target itself
env = gym.make("BoltzmannBandit-v0", target="rotating_mixture", temperature=0.1)
bandit = env.unwrapped
assert isinstance(bandit, BoltzmannBanditEnv)
model = FlowSAC("FlowPolicy", env, ent_coef=0.1, seed=0)
model.learn(steps, log_interval=1_000)

target = bandit.target
states = target.sample_states(256, np.random.default_rng(0)).astype(np.float32)
with torch.no_grad():
    actions, log_prob = model.policy.sample(states, n=200)
print(f"KL to the optimum: {(log_prob - target.log_density(states, actions)).mean():.3f} nats")
modes = target.mode_of(states, actions).ravel()
print("share of each mode", np.bincount(modes, minlength=4) / modes.size, "optimum", target.mode_masses)

figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharex=True, sharey=True)
for axis, state, drawn in zip(axes, states, actions.cpu().numpy(), strict=False):
    axis.scatter(*drawn.T, s=4)
    axis.set(title=f"state {state.round(2)}", aspect="equal", xlim=(-1, 1), ylim=(-1, 1))
figure.savefig("modes.png")
