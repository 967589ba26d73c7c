"""Pauses Python's garbage collector around calls that a collection must not interrupt."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_depth = 0  # how many ``gc_paused`` blocks are active, in all threads: the collector is one for the process
_was_enabled = True  # before the first of them


@contextmanager
def gc_paused() -> Iterator[None]:
    """No garbage collection inside this block. Blocks of several threads may overlap: the last to leave enables it again.

    TensorRT calls our logger while it holds a lock of its own. A collection there that destroys another TensorRT object would
    wait for that lock: a deadlock. So every call that may log runs in this block: constructors, destructors, and functions
    whose local variables are TensorRT objects. The capture of a CUDA graph does too: freed garbage may own device memory,
    and freeing it during a capture invalidates the capture.
    """
    global _depth, _was_enabled
    with _lock:
        if not _depth:
            _was_enabled = gc.isenabled()
            gc.disable()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if not _depth and _was_enabled:
                gc.enable()
