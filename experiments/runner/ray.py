"""Tasks on Ray: its scheduler places them, its retries start those again whose worker or node has died."""

from collections.abc import Sequence
from functools import partial

from rich.console import Console

from experiments.runner.tasks import Backend, Outcomes, Result, Task

RETRIES = 5  # of a task whose worker or node has died; an exception of its own is not tried again


def ray_backend(address: str | None = None) -> Backend:
    """
    Run each task as a Ray task.

    This clone has to be installed on all nodes, and the folder of the results on storage that they share.

    :param address: of the cluster, ``"auto"`` for the one that this machine belongs to; ``None`` starts one here
    """
    return partial(_outcomes, address=address)


def _outcomes(tasks: Sequence[Task], console: Console, address: str | None) -> Outcomes:
    try:
        import ray
    except ImportError as error:
        raise ImportError('--backend ray needs Ray: pip install -e ".[ray]"') from error

    if started := not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    try:
        run = ray.remote(num_cpus=1, max_retries=RETRIES)(_call)
        running = {run.options(name=task.name).remote(task): task for task in tasks}
        console.print(f"Running {len(tasks)} tasks on Ray, {ray.cluster_resources().get('CPU', 0):g} cores")
        while running:
            (finished,), _ = ray.wait(list(running))
            task = running.pop(finished)
            try:
                yield task, ray.get(finished)
            except Exception as error:
                yield task, getattr(error, "cause", error)
    finally:
        if started:
            ray.shutdown()


def _call(task: Task) -> Result:
    return task()
