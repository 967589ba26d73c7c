"""A live source that is opened again after it was lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..errors import PoseEdgeError, SourceError, UsageError
from ..events import SourceBack, SourceChanged, SourceLost
from ..pose.keypoints import ImageSize
from .base import BaseSource, CameraFrame, People, Source, SourceInfo, SourceItem
from .redaction import redacted

_SETTLED_S = 1.0  # a connection that lasted as long was a good one: the next loss begins with a try at once


@dataclass(frozen=True)
class Backoff:
    """How long to wait before each try: not at all, ``first_s``, and then twice as long each time, up to ``most_s``.

    Args:
        jitter: share of the wait that is random, so that many robots do not come back to one server in the same instant.
    """

    first_s: float = 0.25
    most_s: float = 5.0
    jitter: float = 0.25

    def wait_s(self, tries: int, *, chance: float) -> float:
        """The wait after so many tries; ``chance`` is in [0, 1)."""
        if tries == 0:
            return 0.0
        longest_s = min(self.most_s, self.first_s * 2.0 ** min(tries - 1, 30))
        return longest_s * (1 - self.jitter * chance)


class ReconnectingSource(BaseSource):
    """Yields the frames of one connection after another.

    The end of a connection, or an error while it is opened or read, is one ``SourceLost``, with the time of the last frame.
    The first frame afterwards follows a ``SourceBack``, and a ``SourceChanged`` if its size differs. The first connection
    must give a frame: until then every error is raised, so that a mistyped address ends the run at once.

    Args:
        open_once: a new source for each connection. It connects at its ``info`` or its iteration, and ends or raises a
            ``SourceError`` when it gets no frames: what it waits for has a timeout.
        wait: waits so many seconds, or until the source is closed.
    """

    def __init__(
        self,
        open_once: Callable[[], Source],
        *,
        backoff: Backoff = Backoff(),
        wait: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._open_once, self._backoff, self._clock, self._chance = open_once, backoff, clock, chance
        self._closed = threading.Event()
        self._wait = self._closed.wait if wait is None else wait
        self._reading = threading.Lock()  # held by the iteration, which alone touches the connection meanwhile
        self._source: Source | None = open_once()
        self._pictures = self._source.pictures
        self._info: SourceInfo | None = None

    @property
    def pictures(self) -> bool:
        return self._pictures

    @property
    def info(self) -> SourceInfo:
        if self._info is None:
            if self._source is None:
                self._source = self._open_once()
            self._info = replace(self._source.info, live=True)
        return self._info

    def __iter__(self) -> Iterator[SourceItem]:
        if not self._reading.acquire(blocking=False):
            raise UsageError("a live source is read twice at the same time", expected="one iteration")
        try:
            yield from self._items()
        finally:
            self._release()
            self._reading.release()

    def close(self) -> None:
        """End the iteration, of whichever thread; it releases the connection as soon as its current read returns."""
        self._closed.set()
        if self._reading.acquire(blocking=False):
            self._release()
            self._reading.release()

    def _items(self) -> Iterator[SourceItem]:
        tries, last_s, lost = 0, None, False
        size: ImageSize | None = None
        _ = self.info  # from now on it is known, whatever becomes of the connection
        while not self._closed.is_set():
            began_s, reason = None, "the stream ended"
            try:
                self._source = self._source or self._open_once()
                for item in self._source:
                    if self._closed.is_set():
                        return
                    if isinstance(item, CameraFrame | People):
                        began_s = self._clock() if began_s is None else began_s
                        if lost:
                            lost = False
                            yield SourceBack(item.t_s)
                        if isinstance(item, CameraFrame):
                            if size is not None and item.size != size:
                                yield SourceChanged(item.t_s, width=int(item.size.width_px), height=int(item.size.height_px))
                            size = item.size
                        last_s = item.t_s
                    yield item
            except (SourceError, OSError) as error:
                if last_s is None:
                    raise
                reason = redacted(error.what) if isinstance(error, PoseEdgeError) else error.strerror or type(error).__name__
            if self._closed.is_set():
                return
            if last_s is None:
                raise SourceError(f"{self.info.name} ended before its first frame", expected="a source that delivers")
            self._release()
            if not lost:
                lost = True
                yield SourceLost(last_s, reason)
            if began_s is not None and self._clock() - began_s >= _SETTLED_S:
                tries = 0
            self._wait(self._backoff.wait_s(tries, chance=self._chance()))
            tries += 1

    def _release(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()
