"""Cameras: frames by the clock, and errors that name the cameras of this machine."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from posemoe_edge.runtime.arrays import ImageBgr
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.events import SourceBack, SourceLost
from posemoe_edge.runtime.sources import CameraFrame, SourceInfo, camera, list_cameras, open_source
from posemoe_edge.runtime.sources.camera import CameraSource


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cameras are files on Linux only")
@pytest.mark.parametrize("uri", ["camera977", "977", "v4l2:///dev/video977"])
def test_an_absent_camera_is_an_error_that_names_the_present_ones(
    uri: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(camera, "list_cameras", lambda: ["/dev/video3"])
    with pytest.raises(
        SourceError, match=r"no camera /dev/video977; cameras of this machine: /dev/video3; run: posemoe-edge run"
    ):
        open_source(uri)
    monkeypatch.setattr(camera, "list_cameras", lambda: [])
    with pytest.raises(SourceError, match="cameras of this machine: none"):
        open_source(uri)
    assert capfd.readouterr().err == ""


def test_cameras_are_listed_by_number() -> None:
    numbers = [int(name.removeprefix("/dev/video")) for name in list_cameras()]
    assert numbers == sorted(numbers)


class FakeCapture:
    """A ``cv2.VideoCapture`` that delivers three pictures and is then unplugged."""

    opened = True

    def __init__(self, index: int) -> None:
        self.remaining = 3

    def isOpened(self) -> bool:
        return self.opened

    def get(self, prop: int) -> float:
        return 30.0

    def grab(self) -> bool:
        self.remaining -= 1
        return self.remaining >= 0

    def retrieve(self) -> tuple[bool, ImageBgr]:
        return True, np.full((120, 160, 3), 255, np.uint8)

    def release(self) -> None: ...


@pytest.fixture
def fake_capture(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(sys, "platform", "elsewhere")  # so that /dev/video0 need not exist
    return FakeCapture


def test_a_camera_gives_frames_by_the_clock_until_it_is_unplugged(fake_capture: type[FakeCapture]) -> None:
    start_s = time.monotonic()
    frames = []
    source = CameraSource(0)
    assert source.pictures and source.info == SourceInfo("/dev/video0", fps=30.0, frames=None, live=True)
    with pytest.raises(SourceError, match="camera /dev/video0 stopped after 3 frames"):
        for frame in source:
            frames.append(frame)
    times_s = [frame.t_s for frame in frames]
    assert len(times_s) == 3 and times_s == sorted(times_s) and start_s <= times_s[0] <= time.monotonic()
    assert [frame.arrived_s for frame in frames] == times_s
    assert frames[0].image_bgr.shape == (120, 160, 3)
    assert len(list(CameraSource(0, frames=2))) == 2


def test_a_camera_that_was_unplugged_is_lost_and_comes_back(fake_capture: type[FakeCapture]) -> None:
    with open_source("camera0", frames=4) as source:
        assert source.pictures and source.info == SourceInfo("/dev/video0", fps=30.0, frames=4, live=True)
        items = list(source)  # more than the three frames of one connection
    kinds = [type(item) for item in items]
    assert kinds.count(CameraFrame) == 4 and kinds.count(SourceLost) - kinds.count(SourceBack) in (0, 1)
    lost = next(item for item in items if isinstance(item, SourceLost))
    assert lost.reason == "the camera /dev/video0 stopped after 3 frames" and lost.t_s > 0
    assert kinds.index(SourceBack) > kinds.index(SourceLost)


def test_a_camera_that_cannot_be_opened_is_a_source_error(
    fake_capture: type[FakeCapture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_capture, "opened", False)
    with pytest.raises(SourceError, match="nothing can be read from the camera /dev/video0"):
        _ = open_source("camera0").info
