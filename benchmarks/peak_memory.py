"""Shared by benchmarks on a processor: how much memory a piece of work takes at its highest."""

from __future__ import annotations

import ctypes
import multiprocessing
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from posemoe_edge.runtime.errors import PoseEdgeError

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mb(
    make: Callable[[], Callable[[], object]], *, limit_gb: float, warm_up: Callable[[], object] | None = None
) -> float | None:
    """Megabytes that the process grew by at its highest, from before ``make`` until the function that it returns has run.

    None where that is more than the limit.

    Weights, inputs, libraries' buffers and intermediate results count. The work is done in a copy of this process, so that
    memory which an earlier one has freed is not used again. Measure before PyTorch has computed gradients in this process: a
    copy cannot, afterwards.

    Args:
        limit_gb: more than that is refused to the work, so that a machine with other work survives.
        warm_up: small work of the same kind, done before: what libraries allocate once does not count then.

    Raises:
        PoseEdgeError: the copy ended without an answer.
        Exception: what the work raised there, but for a lack of memory.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(make, limit_gb, warm_up, sender))
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        answer = PoseEdgeError("the process that measures memory ended without an answer", expected="enough memory")
    process.join()
    if isinstance(answer, Exception):
        raise answer
    return None if answer is None else float(answer)


def out_of_memory(error: Exception) -> bool:
    """Whether an error of Python or of PyTorch's allocator says that there was not enough memory."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _work(
    make: Callable[[], Callable[[], object]], limit_gb: float, warm_up: Callable[[], object] | None, sender: Connection
) -> None:
    answer: float | Exception | None
    try:
        if warm_up is not None:
            warm_up()
        most = int(1e6 * _megabytes("VmSize") + 1e9 * limit_gb)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before would be used again, and not be counted
        before = _megabytes("VmRSS")
        CLEAR.write_text("5")  # the peak begins anew
        make()()
        answer = _megabytes("VmHWM") - before
    except Exception as error:
        answer = None if out_of_memory(error) else error
    sender.send(answer)


def _megabytes(field: str) -> float:
    """A line of the process's status, which is in kibibytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6
