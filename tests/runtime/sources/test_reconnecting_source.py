"""A live source that is lost is opened again, and says so once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from posemoe_edge.runtime.errors import SourceError, UsageError
from posemoe_edge.runtime.events import SourceBack, SourceChanged, SourceLost
from posemoe_edge.runtime.sources import BaseSource, CameraFrame, LatestSource, ReconnectingSource, SourceInfo
from posemoe_edge.runtime.sources.base import SourceItem
from posemoe_edge.runtime.sources.reconnecting import Backoff

Step = CameraFrame | Exception


def frame(t_s: float, width: int = 6) -> CameraFrame:
    return CameraFrame(t_s, np.zeros((4, width, 3), np.uint8))


class Connection(BaseSource):
    """One connection: each step is a frame, or an error that is raised; then it ends."""

    def __init__(self, *steps: Step) -> None:
        self.steps, self.closed = steps, False

    @property
    def pictures(self) -> bool:
        return True

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("camera", fps=30.0)

    def __iter__(self) -> Iterator[CameraFrame]:
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            yield step

    def close(self) -> None:
        self.closed = True


class Cable:
    """Hands out the connections one after another; the source is closed at the last one's end. Notes the waits."""

    def __init__(self, *connections: Connection, clock: Callable[[], float] = lambda: 0.0, chance: float = 0.0) -> None:
        self.connections, self.opened, self.waits_s = connections, 0, list[float]()
        self.source = ReconnectingSource(self._open, wait=self._wait, clock=clock, chance=lambda: chance)

    def _open(self) -> Connection:
        self.opened += 1
        return self.connections[self.opened - 1]

    def _wait(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        if self.opened == len(self.connections):
            self.source.close()

    def items(self) -> list[SourceItem]:
        return list(self.source)


def events_of(items: list[SourceItem]) -> list[SourceItem]:
    return [item for item in items if not isinstance(item, CameraFrame)]


def test_the_end_of_a_stream_is_a_loss_and_the_next_frame_is_the_return() -> None:
    cable = Cable(Connection(frame(1), frame(2)), Connection(frame(9)))
    items = cable.items()
    assert [item.t_s for item in items] == [1, 2, 2, 9, 9, 9]
    assert events_of(items) == [SourceLost(2, "the stream ended"), SourceBack(9), SourceLost(9, "the stream ended")]
    assert all(connection.closed for connection in cable.connections)


def test_many_failed_tries_are_one_loss() -> None:
    refused = SourceError("rtsp://me:word@host/x cannot be opened: refused")
    cable = Cable(
        Connection(frame(1), SourceError("rtsp://me:word@host/x stalled")),
        *[Connection(refused), Connection(OSError(5, "input/output error")), Connection()],
        Connection(frame(5)),
    )
    assert events_of(cable.items())[:2] == [SourceLost(1, "rtsp://***@host/x stalled"), SourceBack(5)]
    assert cable.waits_s[:4] == [0, 0.25, 0.5, 1]


def test_the_waits_grow_to_five_seconds_and_vary() -> None:
    def waits_s(chance: float) -> list[float]:
        return [Backoff().wait_s(tries, chance=chance) for tries in (0, 1, 2, 3, 4, 5, 6, 1000)]

    assert waits_s(0.0) == [0, 0.25, 0.5, 1, 2, 4, 5, 5]
    assert waits_s(0.999)[1:] == pytest.approx([0.75025 * wait_s for wait_s in waits_s(0.0)[1:]])


def test_a_connection_that_lasted_is_followed_by_a_try_at_once() -> None:
    def waits_s(connection_s: float) -> list[float]:
        clock = iter(np.arange(100) * connection_s)  # read at the first frame and at the loss
        cable = Cable(*[Connection(frame(t_s)) for t_s in range(3)], clock=lambda: float(next(clock)))
        cable.items()
        return cable.waits_s

    assert waits_s(10.0) == [0, 0, 0]
    assert waits_s(0.1) == [0, 0.25, 0.5], "a server that hangs up after a frame is not called in a loop"


def test_another_size_is_said_before_its_first_frame() -> None:
    cable = Cable(Connection(frame(1), frame(2, width=8)), Connection(frame(3, width=10)), Connection(frame(4, width=10)))
    items = cable.items()
    changes = [(index, item) for index, item in enumerate(items) if isinstance(item, SourceChanged)]
    assert [item for _, item in changes] == [SourceChanged(2, width=8, height=4), SourceChanged(3, width=10, height=4)]
    for index, change in changes:
        following = items[index + 1]
        assert isinstance(following, CameraFrame) and following.size.width_px == change.width


@pytest.mark.parametrize("first", [Connection(SourceError("no such camera")), Connection(OSError(2, "no such camera"))])
def test_an_error_before_the_first_frame_is_raised(first: Connection) -> None:
    with pytest.raises((SourceError, OSError), match="no such camera"):
        Cable(first, Connection(frame(1))).items()


def test_a_stream_without_a_frame_is_an_error() -> None:
    with pytest.raises(SourceError, match="camera ended before its first frame"):
        Cable(Connection(), Connection(frame(1))).items()


def test_what_the_source_is_stays_known_while_it_is_lost() -> None:
    source = Cable(Connection(frame(1)), Connection(frame(2))).source
    known = [source.info for item in source if isinstance(item, SourceLost)]
    assert known == [SourceInfo("camera", fps=30.0, live=True)] * 2


def test_a_mistake_in_the_code_is_no_loss() -> None:
    with pytest.raises(ZeroDivisionError):
        Cable(Connection(frame(1), ZeroDivisionError()), Connection(frame(1))).items()


def test_two_iterations_at_once_are_refused() -> None:
    source = Cable(Connection(frame(1), frame(2))).source
    items = iter(source)
    next(items)
    with pytest.raises(UsageError, match="read twice"):
        next(iter(source))
    source.close()
    assert list(items) == []


def test_close_interrupts_the_wait_and_releases_the_connection() -> None:
    before = set(threading.enumerate())
    lost, first = threading.Event(), Connection(frame(1))
    connections = iter([first])

    def open_once() -> Connection:
        return next(connections, Connection(SourceError("refused")))

    source = LatestSource(ReconnectingSource(open_once, backoff=Backoff(first_s=1000.0, most_s=1000.0)))

    def consume() -> None:
        for item in source:
            if isinstance(item, SourceLost):
                lost.set()

    consumer = threading.Thread(target=consume)
    consumer.start()
    assert lost.wait(10)
    source.close()
    consumer.join(10)
    assert set(threading.enumerate()) <= before and first.closed
