"""A sink behind a queue: nothing is lost of a file, a live source never waits, and a failure is raised."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from posemoe_edge.runtime import Event, PoseFrame, SourceLost
from posemoe_edge.runtime.sinks import BaseSink, RunInfo
from posemoe_edge.runtime.sinks import queued as queued_module
from posemoe_edge.runtime.sinks.queued import QueuedSink
from posemoe_edge.runtime.sources import SourceInfo

RUN = RunInfo(SourceInfo("test"), preset="p", precision="fp32", mode="step", engine="e", latency_frames=0)


class SlowSink(BaseSink):
    """Writes an event for each release of ``may_write``; fails at the event number ``fails_at``."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.may_write, self.writing = threading.Semaphore(0), threading.Event()
        self.events: list[Event] = []
        self.ended = ""
        self.fails_at = fails_at

    def write(self, event: Event) -> None:
        self.writing.set()
        assert self.may_write.acquire(timeout=60)
        if len(self.events) == self.fails_at:
            raise OSError("disk full")
        self.events.append(event)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


@pytest.fixture
def slow() -> Iterator[SlowSink]:
    sink = SlowSink()
    yield sink
    sink.may_write.release(100)  # so that no thread outlives its test


def frame(t_s: float) -> PoseFrame:
    return PoseFrame(t_s, {})


def test_a_full_queue_of_a_live_source_drops_the_oldest_frames_and_counts_them(slow: SlowSink) -> None:
    sink = QueuedSink(slow, drops=True, capacity=3)
    sink.open(RUN)
    sink.write(frame(0))
    assert slow.writing.wait(60)  # the first frame has left the queue
    lost = SourceLost(1, "gone")
    for event in (lost, frame(2), frame(3), frame(4), frame(5)):
        sink.write(event)
    slow.may_write.release(100)
    sink.close()
    assert [event.t_s for event in slow.events] == [0, 1, 4, 5] and sink.dropped == 2
    assert slow.events[1] is lost and slow.ended == "closed"


def test_a_full_queue_of_a_file_waits_and_loses_nothing(slow: SlowSink) -> None:
    sink = QueuedSink(slow, drops=False, capacity=2)
    sink.open(RUN)

    def write_all() -> None:
        for i in range(20):
            sink.write(frame(i))

    writer = threading.Thread(target=write_all)
    writer.start()
    assert slow.writing.wait(60)
    writer.join(0.05)
    assert writer.is_alive()
    slow.may_write.release(100)
    writer.join(60)
    sink.close()
    assert [event.t_s for event in slow.events] == list(range(20)) and sink.dropped == 0


def test_the_failure_of_a_write_is_raised_by_the_next_one_and_at_the_close() -> None:
    failing = SlowSink(fails_at=0)
    failing.may_write.release(100)
    sink = QueuedSink(failing, drops=False)
    sink.open(RUN)
    with pytest.raises(OSError, match="disk full"):
        for i in range(10_000):
            sink.write(frame(i))
    with pytest.raises(OSError, match="disk full"):
        sink.close()
    sink.abort()
    assert failing.ended == "aborted" and failing.events == []


def test_what_is_in_the_queue_is_written_before_an_abort(slow: SlowSink) -> None:
    sink = QueuedSink(slow, drops=False)
    sink.open(RUN)
    for i in range(5):
        sink.write(frame(i))
    slow.may_write.release(100)
    sink.abort()
    assert len(slow.events) == 5 and slow.ended == "aborted"


def test_a_sink_that_hangs_is_an_error_and_not_a_run_that_hangs(slow: SlowSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queued_module, "CLOSE_WITHIN_S", 0.05)
    sink = QueuedSink(slow, drops=True)
    sink.open(RUN)
    sink.write(frame(0))
    with pytest.raises(TimeoutError, match="SlowSink did not write"):
        sink.close()
    sink.abort()
    assert slow.ended == ""  # it is still in a write
