"""Several sinks as one: none loses what it wrote because another one failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from ..events import Event
from .base import BaseSink, RunInfo, Sink


class SinkGroup(BaseSink):
    """Passes every event on to each of its sinks, and then raises the first error of one of them.

    A sink that fails is aborted and gets no further events. The others are closed, not aborted, if that error ends the run.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)
        self._failure: Exception | None = None

    def open(self, run: RunInfo) -> None:
        self._each(lambda sink: sink.open(run))

    def write(self, event: Event) -> None:
        self._each(lambda sink: sink.write(event))

    def close(self) -> None:
        self._each(lambda sink: sink.close())

    def abort(self) -> None:
        self._each(lambda sink: sink.abort())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        if kind is None or error is self._failure:
            self.close()
        else:
            self.abort()

    def _each(self, action: Callable[[Sink], None]) -> None:
        failure: Exception | None = None
        for sink in list(self._sinks):
            try:
                action(sink)
            except Exception as error:
                self._sinks.remove(sink)
                sink.abort()
                failure = failure or error
        if failure is not None:
            self._failure = failure
            raise failure
