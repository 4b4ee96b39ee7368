"""Processes for independent runs."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor


def process_pool(jobs: int) -> ProcessPoolExecutor:
    """
    Processes that run tasks side by side.

    They are spawned: a forked one would inherit PyTorch's threads in an unknown state. Ctrl-C reaches all processes,
    and ends these at once and without tracebacks, so that the first one can say how to go on.

    :param jobs: number of processes
    """
    return ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL)
    )
