"""
A run in MLflow: a writer for Stable-Baselines3's logger, as its documentation has one.

    pip install mlflow
    python examples/tracking/mlflow_run.py && mlflow ui --backend-store-uri sqlite:///mlflow.db
"""

import argparse
import sys
from typing import Any

from stable_baselines3.common.logger import HumanOutputFormat, KVWriter, Logger

from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import hyperparameters

try:
    import mlflow
except ImportError:
    sys.exit("this example needs MLflow: pip install mlflow")


class MLflowWriter(KVWriter):
    """Sends the numbers of a line of the log to the active run."""

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """See ``KVWriter``."""
        numbers = {key: float(value) for key, value in key_values.items() if "mlflow" not in key_excluded[key]}
        mlflow.log_metrics(numbers, step=step)

    def close(self) -> None:
        """Nothing is open."""


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=5000, help="environment steps")
steps = parser.parse_args().steps

model = FlowSAC("FlowPolicy", "Pendulum-v1", seed=0)
model.set_logger(Logger(None, [HumanOutputFormat(sys.stdout), MLflowWriter()]))
mlflow.set_tracking_uri("sqlite:///mlflow.db")
with mlflow.start_run() as run:
    mlflow.log_params(hyperparameters(model))
    model.learn(steps, log_interval=1)
    print("Logged run", run.info.run_id)
