"""A run that goes on after an interruption. Stop it with Ctrl-C, or in any other way, and start it again."""

import argparse

from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import ResumableCheckpoint

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=10_000, help="environment steps of the whole run")
steps = parser.parse_args().steps

# seed: a run started anew is the same run. learn is given the length of the whole run at each start
model = FlowSAC("FlowPolicy", "MaxEntLQR-v0", gamma=0.95, ent_coef=0.5, seed=0)
checkpoint = ResumableCheckpoint("resumable_run", save_freq=max(steps // 20, 1))
model.learn(steps, callback=checkpoint)
print(f"{model.num_timesteps} steps done; started again, this gives the finished model at once")
