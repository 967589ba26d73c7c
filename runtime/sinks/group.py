"""Several sinks as one: if one fails, the others keep what they wrote, and get what comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ..errors import MissingError
from ..events import Event
from .base import BaseSink, RunInfo, Sink
from .queued import QueuedSink

log = logging.getLogger(__name__)


class SinkGroup(BaseSink):
    """Passes every event on to each of its sinks, each in a thread of its own behind a queue: see ``QueuedSink``.

    A sink that fails is aborted and gets no further events; the others go on. When the last one has failed, its error is
    raised. A sink that cannot be opened is an error at once, and the others are aborted: they leave the files of earlier runs.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)
        self._queues: list[QueuedSink] = []
        self._opened = False  # all of them
        self.failures: list[Exception] = []

    @property
    def dropped(self) -> int:
        """Frames that sinks were too slow for."""
        return sum(queue.dropped for queue in self._queues)

    def open(self, run: RunInfo) -> None:
        self._sinks = [self._queued(sink, drops=run.source.live) for sink in self._sinks]
        self._each(lambda sink: sink.open(run))
        if self.failures:
            raise self.failures[0]
        self._opened = True

    def write(self, event: Event) -> None:
        self._each(lambda sink: sink.write(event))
        self._raise_the_last()

    def close(self) -> None:
        self._each(lambda sink: sink.close())
        self._raise_the_last()

    def abort(self) -> None:
        self._each(lambda sink: sink.abort())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        if kind is None or (self._opened and error in self.failures):
            self.close()
        else:
            self.abort()

    def _queued(self, sink: Sink, *, drops: bool) -> Sink:
        if not getattr(sink, "threaded", True):
            return sink
        self._queues.append(QueuedSink(sink, drops=drops))
        return self._queues[-1]

    def _raise_the_last(self) -> None:
        if self.failures and not self._sinks:
            raise self.failures[-1]

    def _each(self, action: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                action(sink)
            except Exception as error:
                self._sinks.remove(sink)
                with suppress(Exception):  # a full disk fails a second time
                    sink.abort()
                failed = sink.sink if isinstance(sink, QueuedSink) else sink
                error = _with_the_path(error, failed)
                self.failures.append(error)
                log.warning("%s failed and gets no further events: %s", type(failed).__name__, error)


def _with_the_path(error: Exception, sink: Sink) -> Exception:
    """An error of the disk with the file that the user knows: the system names none, or a draft."""
    path = getattr(sink, "path", None)
    if not isinstance(error, OSError) or error.strerror is None or not isinstance(path, Path):
        return error
    return MissingError(f"{path} cannot be written to ({error.strerror})", expected="a disk with space and write permission")
