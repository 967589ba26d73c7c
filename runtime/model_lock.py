"""The lock of a model's buffers and states. While it is held, the model is open, and was opened in this process."""

from __future__ import annotations

import os
from threading import Lock
from types import TracebackType

from .errors import UsageError


class ModelLock:
    """A context manager that one thread at a time is in.

    Raises:
        UsageError: the model was closed, or it was opened before a fork and this is the child, in which neither an engine's
            threads nor a GPU's memory exist.
    """

    def __init__(self) -> None:
        self._lock, self._pid = Lock(), os.getpid()
        self.closed = False

    def __enter__(self) -> None:
        if os.getpid() != self._pid:  # before the lock, which another thread of the parent may have held at the fork
            raise UsageError(
                "the model was opened before this process was forked", expected="load(...) in each process that uses it"
            )
        self._lock.acquire()
        if self.closed:
            self._lock.release()
            raise UsageError("the model is closed", expected="a model that load(...) opened")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()
