"""Independent work side by side: a thread each, as many at a time as this process may use processors.

Engines and NumPy give up Python's lock while they compute, so rollouts of different sessions need no processes of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from ...runtime.platform.cores import available_cores

Result = TypeVar("Result")
OnProgress = Callable[[int], None]


class _StoppedError(Exception):
    """Another task failed or the user interrupted: what this one would give is not needed any more."""


def side_by_side(
    tasks: Sequence[Callable[[OnProgress], Result]],
    *,
    on_progress: OnProgress = lambda amount: None,
    workers: int | None = None,
) -> list[Result]:
    """What each task returns, in order.

    After an error in one of them, or an interrupt, the others end at their next report of progress, and the error is raised.

    Args:
        tasks: functions that take a function to report progress to.
        on_progress: called with what the tasks report, by one thread at a time.
        workers: tasks at a time; None is the number of processors. 1 runs them in the calling thread.
    """
    workers = min(workers or available_cores(), len(tasks))
    if workers <= 1:
        return [task(on_progress) for task in tasks]
    lock, stopped = threading.Lock(), threading.Event()

    def report(amount: int) -> None:
        with lock:
            if stopped.is_set():
                raise _StoppedError
            on_progress(amount)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="side-by-side")
    futures = [pool.submit(task, report) for task in tasks]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = next((future for future in futures if future.done() and future.exception()), None)
        return [future.result() for future in ([failed] if failed else futures)]
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
