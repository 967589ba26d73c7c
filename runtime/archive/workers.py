"""The clips of an archive on one machine: in this process, or in several with one thread of the engine each."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeAlias

from .clip_lifter import ClipLifter, Job, LiftOptions, Outcome, StoppedError

OnOutcome = Callable[[Outcome], None]
Lifting: TypeAlias = "Future[Outcome | None]"
_AHEAD = 2  # clips in the hands of each process: the one that it lifts, and the next
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_DIED = "the process that lifted it died: out of memory, or an error in a library of the engine or the decoder"


def lift_here(jobs: Iterable[Job], lifter: ClipLifter, *, on_outcome: OnOutcome) -> None:
    """Lift clips one after the other in this process.

    Args:
        on_outcome: called with what came of each clip.
    """
    for job in jobs:
        on_outcome(lifter.lift(job))


def lift_in_processes(jobs: Iterable[Job], options: LiftOptions, *, workers: int, on_outcome: OnOutcome) -> None:
    """Lift clips in several processes, each with a model and a detector of its own, and one thread.

    A process that dies takes no other clip with it: the clips that were in work are lifted again, each in a process of its own.
    An interrupt ends the clips in work at their next frame, without a file.

    Args:
        options: with absolute paths; every process opens the model by them.
        on_outcome: called in this process with what came of each clip, in the order in which they end.

    Raises:
        KeyboardInterrupt: after the processes have ended, and after what they finished was passed on.
    """
    waiting = deque(jobs)
    with one_thread_each():
        while waiting:
            for job in _run_pool(waiting, options, workers, on_outcome):
                if _run_pool(deque([job]), options, 1, on_outcome):
                    on_outcome(Outcome(job.source, job.target, 0.0, failure={"what": _DIED, "expected": None, "run": None}))


def _run_pool(waiting: deque[Job], options: LiftOptions, workers: int, on_outcome: OnOutcome) -> list[Job]:
    """Take clips from ``waiting`` until none is left or a process dies; the clips that were in work then."""
    context = multiprocessing.get_context("spawn")
    stop = context.RawValue(ctypes.c_bool, False)  # read without a lock, which a process that is killed might hold
    running: dict[Lifting, Job] = {}
    suspects: list[Job] = []
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(options, stop)) as pool:
        try:
            while (waiting or running) and not suspects:
                while waiting and len(running) < _AHEAD * workers:
                    running[pool.submit(_lift, waiting[0])] = waiting[0]
                    waiting.popleft()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                suspects = _collect(done, running, on_outcome)
        except BrokenProcessPool:  # of submit: a process died since
            suspects = []
        except BaseException:
            stop.value = True
            pool.shutdown(cancel_futures=True)
            _collect([future for future in running if not future.cancelled()], running, on_outcome)
            raise
        if suspects or running:
            pool.shutdown(cancel_futures=True)
            suspects += _collect(list(running), running, on_outcome)
    return suspects


def _collect(done: Iterable[Lifting], running: dict[Lifting, Job], on_outcome: OnOutcome) -> list[Job]:
    """Pass on what came of these clips; those whose process died."""
    lost = []
    for future in done:
        job = running.pop(future)
        try:
            outcome = future.result()
        except (BrokenProcessPool, CancelledError):
            lost.append(job)
        else:
            if outcome is not None:
                on_outcome(outcome)
    return lost


@contextmanager
def one_thread_each() -> Iterator[None]:
    """The libraries of processes that are started inside use one thread: as many as there are processes would compete."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# What follows runs in a worker process.

_worker: dict[str, Any] = {}


def _begin(options: LiftOptions, stop: Any) -> None:
    """Called once in a process. The model is opened by the first clip, whose outcome then says what is wrong with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent decides
    os.dup2(2, 1)  # stdout is the parent's: with --json one object
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker.update(options=options, stop=stop)


def _end_with_parent() -> None:
    """End this process when its parent ends: after a kill the queue of work stays open, and it would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _lift(job: Job) -> Outcome | None:
    """What came of a clip; None if it was given up."""
    if "lifter" not in _worker:
        _worker["lifter"] = ClipLifter(_worker["options"])
    lifter, stop = _worker["lifter"], _worker["stop"]
    try:
        outcome: Outcome = lifter.lift(job, stop=lambda: stop.value)
    except StoppedError:
        return None
    return outcome
