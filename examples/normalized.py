"""Observations and rewards normalised over several environments; model, replay buffer and statistics saved and
restored."""

import argparse

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from sb3_flowsac import FlowSAC

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=10_000, help="environment steps")
steps = parser.parse_args().steps

env = VecNormalize(make_vec_env("Pendulum-v1", n_envs=4, seed=0))
# A gradient step for each environment step. ent_coef counts against the divided rewards
model = FlowSAC("FlowPolicy", env, gradient_steps=-1, seed=0)
model.learn(steps)
model.save("normalized")
model.save_replay_buffer("normalized_buffer")
env.save("normalized_statistics.pkl")

env = VecNormalize.load("normalized_statistics.pkl", make_vec_env("Pendulum-v1", n_envs=4, seed=1))
model = FlowSAC.load("normalized", env=env)
model.load_replay_buffer("normalized_buffer")
model.learn(steps // 10, reset_num_timesteps=False)

env.training, env.norm_reward = False, False  # statistics stay as they are, returns are the environment's own
mean, std = evaluate_policy(model, env, n_eval_episodes=8)
print(f"{model.num_timesteps} steps, mean return {mean:.0f} +/- {std:.0f}")
