"""
A run in Weights & Biases, through its callback for Stable-Baselines3, with TensorBoard's figures beside the metrics.

    pip install wandb
    python examples/tracking/wandb_run.py              # WANDB_MODE=offline needs no account
"""

import argparse
import sys

from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import FigureCallback, hyperparameters

try:
    import wandb
    from wandb.integration.sb3 import WandbCallback
except ImportError:
    sys.exit("this example needs Weights & Biases: pip install wandb")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=5000, help="environment steps")
steps = parser.parse_args().steps

model = FlowSAC("FlowPolicy", "Pendulum-v1", tensorboard_log="runs", seed=0)
with wandb.init(project="sb3-flowsac", config=hyperparameters(model), sync_tensorboard=True) as run:
    model.learn(steps, callback=[FigureCallback(1000), WandbCallback()], log_interval=1)
    print("Logged to", run.dir)
