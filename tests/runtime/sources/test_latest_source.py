"""The newest item of a live source: late consumers miss frames, and never an event."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.events import SourceBack, SourceChanged, SourceLost
from posemoe_edge.runtime.sources import BaseSource, CameraFrame, LatestSource, SourceInfo
from posemoe_edge.runtime.sources.base import SourceItem

PICTURE = np.zeros((4, 6, 3), np.uint8)
PATIENCE_S = 10.0


def frame(t_s: float) -> CameraFrame:
    return CameraFrame(t_s, PICTURE)


class Script(BaseSource):
    """Yields its items, says so, and then waits until it is closed."""

    def __init__(self, items: Iterable[SourceItem], *, error: Exception | None = None, waits: bool = True) -> None:
        self.items, self.error, self.waits = items, error, waits
        self.all_given, self.closed = threading.Event(), threading.Event()

    @property
    def pictures(self) -> bool:
        return True

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("script", fps=30.0)

    def __iter__(self) -> Iterator[SourceItem]:
        yield from self.items
        self.all_given.set()
        if self.waits and not self.closed.wait(PATIENCE_S):
            raise AssertionError("nobody closed the source")
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed.set()


def test_a_late_consumer_gets_the_newest_frame_and_all_events_in_order() -> None:
    events: list[SourceItem] = [SourceLost(2.0, "gone"), SourceBack(3.0), SourceChanged(3.0, 6, 4)]
    script = Script([frame(1), frame(2), *events, frame(3), frame(4)])
    with LatestSource(script) as source:
        assert source.info == SourceInfo("script", fps=30.0, live=True)  # the thread begins
        assert script.all_given.wait(PATIENCE_S)
        items = iter(source)
        assert [next(items) for _ in events] == events
        last = next(items)
        assert isinstance(last, CameraFrame) and last.t_s == 4
        assert source.dropped == 3


def test_a_frame_that_was_there_before_the_loss_comes_before_it() -> None:
    script = Script([frame(1), SourceLost(1.0, "gone")])
    with LatestSource(script) as source:
        _ = source.info
        assert script.all_given.wait(PATIENCE_S)
        kinds = [type(item) for _, item in zip(range(2), source, strict=False)]
    assert kinds == [CameraFrame, SourceLost]


def test_an_error_of_the_source_is_raised_in_the_consumer_after_the_items() -> None:
    script = Script([frame(1)], error=SourceError("the cable broke"), waits=False)
    source = LatestSource(script)
    items = iter(source)
    assert isinstance(next(items), CameraFrame)
    with pytest.raises(SourceError, match="the cable broke"):
        next(items)
    source.close()


def test_close_ends_a_consumer_that_waits_and_the_thread() -> None:
    before = set(threading.enumerate())
    script = Script([])
    source = LatestSource(script)
    ended = threading.Event()

    def consume() -> None:
        assert list(source) == []
        ended.set()

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert script.all_given.wait(PATIENCE_S) and not ended.is_set()
    start_s = time.monotonic()
    source.close()
    source.close()
    consumer.join(PATIENCE_S)
    assert ended.is_set() and script.closed.is_set() and time.monotonic() - start_s < 2
    assert set(threading.enumerate()) <= before
    assert list(source) == []


def test_so_many_frames_are_handed_out_and_events_do_not_count() -> None:
    script = Script([SourceChanged(0.0, 6, 4), frame(1)])
    with LatestSource(script, frames=1) as source:
        assert source.info.frames == 1
        assert [type(item) for item in source] == [SourceChanged, CameraFrame]


def test_a_source_that_ended_can_be_read_again() -> None:
    with LatestSource(Script([frame(1)], waits=False)) as source:
        assert [len(list(source)) for _ in range(2)] == [1, 1]
