"""Processes for independent runs."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor


def process_pool(jobs: int) -> ProcessPoolExecutor:
    """
    Processes that run tasks side by side.

    They are spawned: a forked one would inherit PyTorch's threads in an unknown state. Ctrl-C reaches all processes,
    and ends these at once and without tracebacks, so that the first one can say how to go on. Where it is ignored, as
    under ``nohup``, it stays so.

    :param jobs: number of processes
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    on_interrupt = signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), signal.signal, on_interrupt)
