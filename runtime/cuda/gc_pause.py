"""Python's collector, kept out of what it must not interrupt."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_within = 0  # how many are within ``gc_paused``, in all threads: the collector is the process's
_collecting = True  # before the first of them


@contextmanager
def gc_paused() -> Iterator[None]:
    """Python's garbage is left lying meanwhile. Threads may be here together: the last one to leave lets Python collect again.

    TensorRT calls our logger while it holds a lock of its own. If Python collected garbage there, an older object of TensorRT's
    among it would wait for that lock, for ever. Whatever may call back belongs here, destructors too; so does a function whose
    locals are TensorRT's. And so does the capture of a CUDA graph: garbage may hold memory of the GPU, and to free that in the
    middle spoils it.
    """
    global _within, _collecting
    with _lock:
        if not _within:
            _collecting = gc.isenabled()
            gc.disable()
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within and _collecting:
                gc.enable()
