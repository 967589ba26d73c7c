"""Sinks that show a run: a video with the frames' own times, complete or not at all, and a window where there is a screen."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import MissingError, UsageError
from posemoe_edge.runtime.events import PoseFrame, TrackStarted
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sinks import BaseSink, RunInfo, open_sink
from posemoe_edge.runtime.sinks import video as video_module
from posemoe_edge.runtime.sources import SyntheticSource

SOURCE = SyntheticSource(people=2, frames=12)
FRAMES = list(SOURCE)
RUN = RunInfo(SOURCE.info, preset="a model", precision="fp32", mode="step", engine="onnxruntime", latency_frames=0)
SHADES = (20, 90, 160, 230)


@pytest.fixture
def av() -> Any:
    pytest.importorskip("cv2")
    return pytest.importorskip("av")


def frame_at(t_s: float, *, shade: int | None = None) -> PoseFrame:
    """Two people, before a grey picture of 320 x 240 or before none."""
    people = FRAMES[0]
    assert people.truth_m is not None
    ones = np.ones(17, np.float32)
    poses = {p: Pose(xyz, ones, t_s, 0.02, latency_frames=0, gap="none", person=p) for p, xyz in people.truth_m.items()}
    image = None if shade is None else np.full((240, 320, 3), shade, np.uint8)
    return PoseFrame(t_s, poses, keypoints=people.keypoints, image_bgr=image)


def test_a_video_is_h264_and_keeps_the_times_of_its_frames(tmp_path: Path, av: Any) -> None:
    times_s = [5.0, 5.02, 5.1, 7.0, 7.033]  # a camera that stalled, and began at 5 s
    with open_sink(f"video:{tmp_path / 'run.mp4'}") as sink:
        sink.open(RUN)
        sink.write(TrackStarted(0, 5.0))
        for t_s in times_s:
            sink.write(frame_at(t_s, shade=100))
        assert not (tmp_path / "run.mp4").exists()  # not before it is complete
    assert [path.name for path in tmp_path.iterdir()] == ["run.mp4"] and isinstance(sink, BaseSink)
    assert sink.written == tmp_path / "run.mp4"
    with av.open(str(tmp_path / "run.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.width % 2 == stream.codec_context.height % 2 == 0
        decoded_s = [float(frame.time) for frame in container.decode(stream)]
    np.testing.assert_allclose(decoded_s, np.array(times_s) - 5, atol=1e-4)
    head = (tmp_path / "run.mp4").read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # a browser plays it before all of it is there


def test_every_frame_shows_its_own_picture(tmp_path: Path, av: Any) -> None:
    with open_sink(f"video:{tmp_path / 'run.mp4'}") as sink:
        for i, shade in enumerate(SHADES):
            sink.write(frame_at(i / 10, shade=shade))
    with av.open(str(tmp_path / "run.mp4")) as container:
        corners = [frame.to_ndarray(format="bgr24")[10:30, 10:30].mean() for frame in container.decode(video=0)]
    np.testing.assert_allclose(corners, SHADES, atol=6)  # limited range and the encoder take a little


def test_frames_at_one_time_or_back_in_time_follow_each_other(tmp_path: Path, av: Any) -> None:
    with open_sink(f"video:{tmp_path / 'run.mp4'}") as sink:
        for t_s in (1.0, 1.0, 0.5, 2.0):
            sink.write(frame_at(t_s))
    with av.open(str(tmp_path / "run.mp4")) as container:
        times_s = [float(frame.time) for frame in container.decode(video=0)]
    assert len(times_s) == 4 and times_s == sorted(times_s) and times_s[-1] == pytest.approx(1.0)


def test_a_clock_that_begins_anew_does_not_stop_the_video(tmp_path: Path, av: Any) -> None:
    with open_sink(f"video:{tmp_path / 'run.mp4'}") as sink:
        for t_s in (1000.0, 1000.1, 0.0, 0.1, 0.3):
            sink.write(frame_at(t_s))
    with av.open(str(tmp_path / "run.mp4")) as container:
        times_s = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(np.diff(times_s), [0.1, 1 / 30, 0.1, 0.2], atol=1e-4)


def test_pictures_of_another_size_and_frames_without_one_fit_into_the_video(tmp_path: Path, av: Any) -> None:
    with open_sink(f"video:{tmp_path / 'run.mp4'}") as sink:
        for i, shape in enumerate(((241, 321, 3), (500, 100, 3), (1, 30000, 3))):  # odd sides too
            sink.write(PoseFrame(i / 10, {}, image_bgr=np.full(shape, 200, np.uint8)))
        sink.write(PoseFrame(0.3, {}))
    with av.open(str(tmp_path / "run.mp4")) as container:
        assert len(list(container.decode(video=0))) == 4


def test_an_abort_leaves_the_old_file_and_no_half_one(tmp_path: Path, av: Any) -> None:
    path = tmp_path / "run.mp4"
    path.write_text("old")
    for frames in (0, 3):
        with pytest.raises(KeyboardInterrupt), open_sink(f"video:{path}") as sink:
            for i in range(frames):
                sink.write(frame_at(i / 10))
            raise KeyboardInterrupt
        assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    sink.close()
    assert path.read_text() == "old" and isinstance(sink, BaseSink) and sink.written is None


def test_a_run_without_frames_leaves_no_video_and_a_closed_sink_takes_none(tmp_path: Path, av: Any) -> None:
    sink = open_sink(f"video:{tmp_path / 'run.mp4'}")
    sink.open(RUN)
    sink.close()
    sink.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="closed"):
        sink.write(frame_at(0.0))


def test_an_encoder_that_fails_leaves_no_file(tmp_path: Path, av: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(f"video:{tmp_path / 'run.mp4'}")
    sink.write(frame_at(0.0))

    class Full:
        def encode(self, picture: object) -> object:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sink, "_stream", Full())
    with pytest.raises(OSError, match="No space"):
        sink.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [("video:run.avi", r"video:run\.mp4"), ("run.mp4", r"did you mean video:run\.mp4"), ("video", "needs a file")],
)
def test_a_video_that_browsers_do_not_play_is_not_begun(spec: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        open_sink(spec)


def test_what_a_video_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoEncoders:
        @staticmethod
        def Codec(name: str, mode: str) -> None:
            raise ValueError(name)

    with pytest.raises(MissingError, match="libx264, libopenh264, libvpx-vp9"):
        video_module._encoder(NoEncoders)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingError, match=r'needs the package av.*pip install "posemoe-edge\[camera\]"'):
        open_sink(f"video:{tmp_path / 'run.mp4'}")
    assert list(tmp_path.iterdir()) == []


# The window.


class Windows:
    """An OpenCV with windows on a screen, which records what it shows."""

    WINDOW_NORMAL = WINDOW_KEEPRATIO = WND_PROP_VISIBLE = 0

    def __init__(self, keys: list[int], *, visible: bool = True) -> None:
        self.drawing = importlib.import_module("cv2")
        self.keys, self.visible, self.shown, self.open = keys, visible, list[Any](), list[str]()

    def getBuildInformation(self) -> str:
        return "  GUI:                           GTK3\n"

    def namedWindow(self, title: str, flags: int) -> None:
        self.open.append(title)

    def resizeWindow(self, title: str, width: int, height: int) -> None: ...

    def imshow(self, title: str, image: Any) -> None:
        self.shown.append(image)

    def waitKey(self, ms: int) -> int:
        return self.keys.pop(0)

    def getWindowProperty(self, title: str, which: int) -> float:
        return 1.0 if self.visible else 0.0

    def destroyWindow(self, title: str) -> None:
        self.open.remove(title)

    def __getattr__(self, name: str) -> Any:  # what draws is the real one
        return getattr(self.drawing, name)


@pytest.mark.parametrize(("keys", "visible", "frames"), [([-1, -1, ord("q")], True, 3), ([-1, 27], True, 2), ([-1], False, 1)])
def test_a_window_shows_every_frame_until_it_is_left(
    keys: list[int], visible: bool, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    windows = Windows(keys, visible=visible)
    monkeypatch.setitem(sys.modules, "cv2", windows)
    monkeypatch.setenv("DISPLAY", ":0")
    sink = open_sink("window")
    sink.open(RUN)
    with pytest.raises(KeyboardInterrupt):
        for i in range(10):
            sink.write(frame_at(i / 10, shade=100))
    assert len(windows.shown) == frames and windows.open == ["posemoe-edge"]
    sink.close()
    sink.close()
    assert windows.open == []


def test_without_windows_or_a_screen_there_is_an_error_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    if "GUI:                           NONE" in cv2.getBuildInformation():
        with pytest.raises(MissingError, match=r"has no windows.*opencv-python"):
            open_sink("window")
    monkeypatch.setitem(sys.modules, "cv2", Windows([]))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(MissingError, match=r"no screen.*--sink video:run\.mp4"):
        open_sink("window")
