"""A sink behind a queue, in a thread of its own, so that a slow disk or viewer does not hold up the lifter."""

from __future__ import annotations

import threading
from collections import deque

from ..events import Event, PoseFrame
from .base import BaseSink, RunInfo, Sink

CAPACITY = 32
"""Events in a queue; with pictures of full HD that is 200 MB."""

CLOSE_WITHIN_S = 30.0
"""A sink that has not written its queue by then counts as hanging."""


class QueuedSink(BaseSink):
    """Takes events at once; a thread writes them to another sink, in their order.

    If the other sink fails, the next ``write``, or ``close``, raises its error. It is opened, closed and aborted in the
    caller's thread.

    Args:
        sink: the other sink.
        drops: what happens when the queue is full: the oldest frame in it is dropped and counted, as a live source needs it,
            or ``write`` waits, which loses nothing of a file. Events that are no frames are never dropped.
        capacity: of the queue, in events.
    """

    def __init__(self, sink: Sink, *, drops: bool, capacity: int = CAPACITY) -> None:
        self.sink, self._drops, self._capacity = sink, drops, capacity
        self.dropped = 0
        self._queue: deque[Event] = deque()
        self._changed = threading.Condition()
        self._ends = False
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    def open(self, run: RunInfo) -> None:
        self.sink.open(run)
        self._thread = threading.Thread(target=self._write_all, name=f"sink {type(self.sink).__name__}", daemon=True)
        self._thread.start()

    def write(self, event: Event) -> None:
        with self._changed:
            while len(self._queue) >= self._capacity and self._failure is None:
                if self._drops and self._drop_oldest_frame():
                    break
                self._changed.wait()
            if self._failure is not None:
                raise self._failure
            self._queue.append(event)
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is in the queue, and close the other sink.

        Raises:
            TimeoutError: the other sink hangs.
        """
        if not self._drained():
            raise TimeoutError(f"{type(self.sink).__name__} did not write its last events within {CLOSE_WITHIN_S:g} s")
        if self._failure is not None:
            raise self._failure
        self.sink.close()

    def abort(self) -> None:
        """Write what is in the queue, since some sinks keep what they have, and abort the other sink."""
        if self._drained():  # else it is stuck in a write, and must not be touched
            self.sink.abort()

    def _drained(self) -> bool:
        """Whether the thread has written what was in the queue, and ended; it is waited for."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSE_WITHIN_S)
            return not self._thread.is_alive()
        return True

    def _drop_oldest_frame(self) -> bool:
        for index, event in enumerate(self._queue):
            if isinstance(event, PoseFrame):
                del self._queue[index]
                self.dropped += 1
                return True
        return False

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not self._queue:
                    if self._ends:
                        return
                    self._changed.wait()
                event = self._queue.popleft()
                self._changed.notify_all()
            try:
                self.sink.write(event)
            except Exception as error:
                with self._changed:
                    self._failure = error
                    self._queue.clear()
                    self._changed.notify_all()
                return
