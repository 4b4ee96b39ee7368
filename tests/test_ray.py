"""Cells on a Ray cluster of two nodes: a worker and then a node die, and every cell ends."""

import io
import threading
import time

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.control.cells import cell
from experiments.runner.ray import ray_backend
from experiments.runner.tasks import run_tasks

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")
Cluster = pytest.importorskip("ray.cluster_utils").Cluster
pytestmark = pytest.mark.ray
STEPS = 400


@pytest.fixture(scope="module")
def cluster():
    """Two nodes, each for one task at a time; the last test removes one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", "120")  # machines of CI may be slow to start it
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def cells(out, seeds):
    return [cell("sac", "Pendulum-v1", seed, STEPS, 100, 1, 100, out) for seed in seeds]


def curve(task):
    return pd.read_csv(task.folder / "evaluations.csv").drop(columns=["wall_seconds", "processor_seconds"])


def kill_a_worker_then_a_node(cluster, out):
    wait_for(lambda: list(out.glob("*/*/*/checkpoints/200")))
    workers = [p for p in psutil.Process().children(recursive=True) if p.name().startswith("ray::Pendulum")]
    workers[0].kill()
    wait_for(lambda: list(out.glob("*/*/*/result.json")))
    cluster.remove_node(cluster.list_all_nodes()[1], allow_graceful=False)


def wait_for(condition):
    deadline = time.monotonic() + 300.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ray_gives_what_a_process_here_gives(cluster, tmp_path):
    (there,), (here,) = cells(tmp_path / "ray", [0]), cells(tmp_path / "here", [0])
    run_tasks([there], tmp_path / "ray", ray_backend(), Console(quiet=True))
    run_tasks([here], tmp_path / "here", 1, Console(quiet=True))
    pd.testing.assert_frame_equal(curve(there), curve(here))


def test_a_failure_does_not_cost_the_others(cluster, tmp_path):
    good, bad = cells(tmp_path, [0]), [cell("sac", "Pendulum-v1", -1, STEPS, 100, 1, 100, tmp_path)]
    with pytest.raises(ValueError, match="Seed"):
        run_tasks(bad + good, tmp_path, ray_backend(), Console(quiet=True))
    assert (good[0].folder / "result.json").exists() and not (bad[0].folder / "result.json").exists()


def test_every_cell_ends_once_though_a_worker_and_a_node_die(cluster, tmp_path):
    tasks, output = cells(tmp_path, range(4)), io.StringIO()
    killer = threading.Thread(target=kill_a_worker_then_a_node, args=(cluster, tmp_path))
    killer.start()
    results = run_tasks(tasks, tmp_path, ray_backend(), Console(file=output, width=200))
    killer.join()
    assert len([node for node in ray.nodes() if node["Alive"]]) == 1
    assert len(results) == output.getvalue().count("Done (") == 4
    for task in tasks:
        assert curve(task)["steps"].tolist() == [100, 200, 300, 400]
        assert (np.diff(pd.read_csv(task.folder / "evaluations.csv")["processor_seconds"]) > 0.0).all()
