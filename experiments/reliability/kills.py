"""
A run on MaxEntLQR-v0 that is killed by SIGKILL at random moments, resumed each time, against one that never stops.

    python -m experiments.reliability.kills --kills 20
"""

import argparse
import hashlib
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from sb3_flowsac import FlowSAC
from sb3_flowsac.callbacks import ResumableCheckpoint
from sb3_flowsac.files.checkpoints import read_checkpoint

CHECKPOINT = "checkpoint.zip"


def train(folder: Path, timesteps: int) -> str:
    """Train, going on from the folder's latest checkpoint; a digest of all parameters."""
    torch.set_num_threads(1)
    model = FlowSAC(
        "FlowPolicy",
        "MaxEntLQR-v0",
        gamma=0.95,
        learning_starts=100,
        batch_size=64,
        policy_kwargs={"net_arch": [64]},
        seed=0,
        device="cpu",
    )
    model.learn(timesteps, callback=ResumableCheckpoint(folder, save_freq=10, verbose=0))
    parameters = (parameter.detach().numpy().tobytes() for parameter in model.policy.state_dict().values())
    return hashlib.sha256(b"".join(parameters)).hexdigest()


def kill_once(context: multiprocessing.context.ForkServerContext, folder: Path, timesteps: int, delay: float) -> bool:
    """Start the run, let it write a checkpoint or more, kill it; whether that was in the middle of writing one."""
    checkpoint = folder / CHECKPOINT
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
    process = context.Process(target=train, args=(folder, timesteps))
    process.start()
    while process.is_alive() and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    process.join()
    if process.exitcode != -9:
        raise SystemExit(
            f"the run ended (exit code {process.exitcode}) before it could be killed; give more --timesteps"
        )
    return any(folder.glob("*.tmp"))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="number of kills")
    parser.add_argument(
        "--delay", type=float, default=0.5, help="longest time between a checkpoint and a kill, in seconds"
    )
    parser.add_argument("--timesteps", type=int, default=1_500, help="environment steps of the run")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sb3_flowsac.callbacks", "torch._dynamo"])
    rng = np.random.default_rng(0)
    reached = damaged = half_written = 0
    with tempfile.TemporaryDirectory() as name:
        folder, untouched = Path(name, "killed"), Path(name, "uninterrupted")
        for _ in range(arguments.kills):
            half_written += kill_once(context, folder, arguments.timesteps, rng.uniform(0, arguments.delay))
            try:
                reached = read_checkpoint(folder / CHECKPOINT)["attributes"]["num_timesteps"]
            except ValueError as error:
                damaged += 1
                print(error)
        same = train(folder, arguments.timesteps) == train(untouched, arguments.timesteps)
    print(
        f"{arguments.kills} kills, the last after the checkpoint at step {reached} of {arguments.timesteps}; "
        f"{half_written} while a checkpoint was being written; {damaged} of {arguments.kills} checkpoints found "
        f"afterwards damaged; "
        f"parameters of the resumed and of the uninterrupted run {'equal to the last bit' if same else 'DIFFERENT'}"
    )


if __name__ == "__main__":
    main()
