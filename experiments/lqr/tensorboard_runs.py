"""
Two short runs on MaxEntLQR-v0, with what docs/tensorboard.md shows of them.

    python -m experiments.lqr.tensorboard_runs --out runs && tensorboard --logdir runs
"""

import argparse
from pathlib import Path

from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import FigureCallback, HParamsCallback, LQROptimalityCallback

STEPS = 1500
POLICY = {
    "squash_output": False,
    "log_std_init": -1.5,
    "net_arch": [64, 64],
    "critic": "quadratic",
    "n_critics": 1,
}
SETTINGS = {"gamma": 0.95, "ent_coef": 0.5, "batch_size": 128, "actor_batch_size": 64}
METRICS = ["lqr/mean_error", "lqr/cov_error", "train/ess"]
BRIEF = {"n_states": 20, "n_actions": 300, "n_rollouts": 50, "horizon": 30}


def main() -> None:
    """Train with 16 and with 32 proposals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder for TensorBoard's files")
    out = parser.parse_args().out
    for seed, n in enumerate((16, 32)):
        callbacks = [HParamsCallback(METRICS), FigureCallback(500), LQROptimalityCallback(250, **BRIEF)]
        model = FlowSAC(
            "FlowPolicy",
            "MaxEntLQR-v0",
            n_proposals=n,
            policy_kwargs=POLICY,
            tensorboard_log=str(out),
            seed=seed,
            **SETTINGS,
        )
        model.learn(STEPS, callback=callbacks, log_interval=1, tb_log_name=f"proposals_{n}")


if __name__ == "__main__":
    main()
