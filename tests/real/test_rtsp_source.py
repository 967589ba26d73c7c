"""A network camera that dies, freezes, comes back and changes: a real RTSP server, real FFmpeg and GStreamer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.events import SourceBack, SourceChanged, SourceLost
from posemoe_edge.runtime.sources import CameraFrame, LatestSource, open_source
from posemoe_edge.runtime.sources.base import SourceItem
from rtsp_server import PYTHON, RtspServer, read_clock_s, why_not

pytest.importorskip("av")

MISSING = why_not()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

PATIENCE_S = 30.0
OLD_S = 0.2
FREEZE_S = 4.0
GI = Path("/usr/lib/python3/dist-packages/gi")  # of Debian's Python; this one loads it if the two are of one version


@pytest.fixture
def server() -> Iterator[RtspServer]:
    server = RtspServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["pyav", "gstreamer"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The backend of each test; with the system's ``gi``, if this Python can load it."""
    name: str = request.param
    if name == "gstreamer":
        (tmp_path / "gi").symlink_to(GI)
        monkeypatch.syspath_prepend(str(tmp_path))
        try:
            from gi.repository import GLib  # noqa: F401
        except ImportError:
            pytest.skip(f"this Python cannot load the gi of {PYTHON}")
    return name


class Watch:
    """Takes the items of a source one by one, with the age of each frame by the clock in the picture."""

    def __init__(self, uri: str) -> None:
        source = open_source(uri)
        assert isinstance(source, LatestSource)
        self.source = source
        self._items = iter(source)
        self.items: list[SourceItem] = []
        self.ages_s: list[float] = []

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        self.source.close()

    def until(self, done: Callable[[SourceItem], bool]) -> SourceItem:
        """Everything up to the item that is asked for."""
        end_s = time.monotonic() + PATIENCE_S
        timer = threading.Timer(PATIENCE_S, self.source.close)
        timer.start()
        try:
            for item in self._items:
                self.items.append(item)
                if isinstance(item, CameraFrame):
                    self.ages_s.append(time.time() - read_clock_s(item.image_bgr))
                if done(item):
                    return item
        finally:
            timer.cancel()
        raise AssertionError(f"not within {PATIENCE_S} s: {time.monotonic() - end_s:.1f}, {self.events}")

    def frames(self, count: int) -> list[CameraFrame]:
        """So many frames."""
        return [frame for frame in (self.until(_is_frame) for _ in range(count)) if isinstance(frame, CameraFrame)]

    @property
    def events(self) -> list[SourceItem]:
        return [item for item in self.items if not isinstance(item, CameraFrame)]

    def check_times(self) -> None:
        """The times of all frames go on, and are those of this machine."""
        frames = [item for item in self.items if isinstance(item, CameraFrame)]
        assert (np.diff([frame.t_s for frame in frames]) > 0).all()
        assert all(frame.arrived_s is not None and frame.t_s <= time.time() for frame in frames)


def _is_frame(item: SourceItem) -> bool:
    return isinstance(item, CameraFrame)


def test_frames_are_fresh_and_have_the_time_of_their_arrival(server: RtspServer, backend: str) -> None:
    before = set(threading.enumerate())
    with Watch(f"{server.url}?backend={backend}") as watch:
        info = watch.source.info
        assert info.live and info.name == server.url and info.fps == pytest.approx(30, rel=0.01)
        watch.frames(10)  # the first may have waited for the connection
        frames = watch.frames(30)
        assert frames[0].image_bgr.shape == (360, 640, 3)
        assert np.median(watch.ages_s[10:]) < OLD_S
        errors_s = [frame.t_s - read_clock_s(frame.image_bgr) for frame in frames]
        assert -0.05 < np.median(errors_s) < OLD_S
        watch.check_times()
    assert {thread for thread in threading.enumerate() if thread.name == "latest-source"} <= before


@pytest.mark.parametrize(("codec", "transport"), [("h265", "tcp"), ("h264", "udp"), ("h265", "udp")])
def test_other_codecs_and_udp_give_the_same_pictures(codec: str, transport: str, backend: str) -> None:
    missing = why_not(codec)
    if missing is not None:
        pytest.skip(missing)
    server = RtspServer(codec=codec)
    server.start()
    try:
        with Watch(f"{server.url}?backend={backend}&transport={transport}") as watch:
            frames = watch.frames(30)
            assert frames[-1].image_bgr.shape == (360, 640, 3) and watch.events == []
            assert np.median(watch.ages_s[10:]) < OLD_S  # the clock in the pictures was read, so that they are whole
            watch.check_times()
            server.kill()
            watch.until(lambda item: isinstance(item, SourceLost))
    finally:
        server.kill()


def test_the_cameras_clock_is_that_in_the_picture(server: RtspServer, backend: str) -> None:
    with Watch(f"{server.url}?clock=sender&backend={backend}") as watch:
        frames = watch.frames(20)
        errors_s = np.array([frame.t_s - read_clock_s(frame.image_bgr) for frame in frames])
        assert np.abs(np.median(errors_s)) < 0.005 and errors_s.std() < 0.005
        watch.check_times()


def test_a_camera_that_was_killed_comes_back_with_another_size(server: RtspServer, backend: str) -> None:
    with Watch(f"{server.url}?backend={backend}") as watch:
        last = watch.frames(15)[-1]
        server.kill()
        lost = watch.until(lambda item: isinstance(item, SourceLost))
        assert lost.t_s >= last.t_s
        server.start(width=704, height=400)
        first = watch.frames(1)[0]
        assert first.image_bgr.shape == (400, 704, 3)
        assert watch.events[1:] == [SourceBack(first.t_s), SourceChanged(first.t_s, width=704, height=400)]
        watch.frames(10)
        watch.check_times()
        assert time.time() - read_clock_s(first.image_bgr) < 2


def test_after_a_freeze_no_old_frame_is_handed_out(server: RtspServer, backend: str) -> None:
    with Watch(f"{server.url}?backend={backend}") as watch:
        watch.frames(30)
        thaw = threading.Timer(FREEZE_S, server.thaw)
        server.freeze()
        thaw.start()
        lost = watch.until(lambda item: isinstance(item, SourceLost))
        frozen = len(watch.ages_s)
        assert isinstance(lost, SourceLost) and server.url.partition("?")[0] in lost.reason
        watch.frames(40)
        assert [type(event) for event in watch.events] == [SourceLost, SourceBack]
        assert max(watch.ages_s[frozen:]) < OLD_S
        watch.check_times()
        thaw.join()


def test_close_during_a_loss_returns_soon(server: RtspServer, backend: str) -> None:
    with Watch(f"{server.url}?backend={backend}") as watch:
        watch.frames(5)
        server.kill()
        watch.until(lambda item: isinstance(item, SourceLost))
        start_s = time.monotonic()
    assert time.monotonic() - start_s < 5
    assert not [thread for thread in threading.enumerate() if thread.name == "latest-source"]


def test_a_password_opens_the_camera_and_is_never_shown(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    server = RtspServer(user="robot", password="SECRET")
    server.start()
    try:
        with Watch(f"{server.url.replace('://', '://robot:SECRET@')}?backend={backend}") as watch:
            watch.frames(3)
            server.kill()
            watch.until(lambda item: isinstance(item, SourceLost))
            shown = f"{watch.source.info} {watch.events} {caplog.text}"
            assert "SECRET" not in shown and "***@127.0.0.1" in shown
        server.start()
        with pytest.raises(SourceError, match=r"(?i)unauthori[sz]ed|authori[sz]ation") as refused:
            _ = open_source(f"{server.url.replace('://', '://robot:WRONG@')}?backend={backend}").info
        assert "WRONG" not in str(refused.value)
    finally:
        server.kill()
