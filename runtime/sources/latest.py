"""The newest item of a live source: a consumer that is late misses items, and is never behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

from ..events import SourceBack, SourceChanged, SourceLost
from .base import BaseSource, Source, SourceInfo, SourceItem

_log = logging.getLogger(__name__)

_JOIN_S = 5.0  # longer than any timeout of the sources here
_POLL_S = 1.0


class LatestSource(BaseSource):
    """Reads a live source in a thread of its own and hands out the newest frame.

    A frame replaces the one before that nobody took. What happened to the source (lost, back, changed) is never left out: it
    stays in order, before the next frame. The thread begins with ``info`` or the iteration, so that nothing is queued
    elsewhere while the consumer gets ready. Errors of the source are raised in the consumer.

    Args:
        source: its ``close`` may be called while another thread reads it, and ends the reading, as that of a
            ``ReconnectingSource``. It is closed with this one.
        frames: at most so many frames are handed out, None for no end.

    Attributes:
        dropped: frames that were replaced by newer ones.
    """

    def __init__(self, source: Source, *, frames: int | None = None) -> None:
        self._source, self._max_frames = source, frames
        self._changed = threading.Condition()
        self._items: list[SourceItem] = []  # events, and at most one frame
        self._error: BaseException | None = None
        self._ended = self._closed = False
        self._thread: threading.Thread | None = None
        self._info: SourceInfo | None = None
        self.dropped = 0

    @property
    def pictures(self) -> bool:
        return self._source.pictures

    @property
    def info(self) -> SourceInfo:
        if self._info is None:
            self._info = replace(self._source.info, live=True, frames=self._max_frames)
            self._start()  # now, else pictures queue in the network and are old when they are asked for
        return self._info

    def __iter__(self) -> Iterator[SourceItem]:
        if self._closed:
            return
        _ = self.info  # opens the source in this thread: later, the reader alone touches it
        self._start()
        given = 0
        while self._max_frames is None or given < self._max_frames:
            item = self._take()
            if item is None:
                return
            yield item
            given += not _is_event(item)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._source.close()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)
            if thread.is_alive():  # a driver that never returns; the thread is a daemon
                _log.warning("the reader of a source did not end within %g s", _JOIN_S)

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            self._ended = False
            self._thread = threading.Thread(target=self._read, name="latest-source", daemon=True)
            self._thread.start()

    def _read(self) -> None:
        """What the thread does."""
        try:
            for item in self._source:
                with self._changed:
                    if self._closed:
                        return
                    self._put(item)
                    self._changed.notify_all()
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, item: SourceItem) -> None:
        if not _is_event(item):
            events = [waiting for waiting in self._items if _is_event(waiting)]
            self.dropped += len(self._items) - len(events)
            self._items = events
        self._items.append(item)

    def _take(self) -> SourceItem | None:
        """The next item, as soon as there is one; None at the end."""
        with self._changed:
            while not (self._items or self._ended or self._closed):
                self._changed.wait(_POLL_S)
            if self._closed:
                return None
            if self._items:
                return self._items.pop(0)
            self._thread = None  # the next iteration begins anew
            error, self._error = self._error, None
        if error is not None:
            raise error
        return None


def _is_event(item: SourceItem) -> bool:
    return isinstance(item, SourceLost | SourceBack | SourceChanged)
