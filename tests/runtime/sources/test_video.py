"""Videos and cameras: real files written and read back, and errors that say what to do."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from posemoe_edge.runtime.errors import MissingError, SourceError, UsageError
from posemoe_edge.runtime.pose.skeleton import COCO17
from posemoe_edge.runtime.sources import list_cameras, open_source, video

WIDTH, HEIGHT, FPS, COUNT = 160, 120, 20.0, 24


class DotDetector:
    """Finds the bright dot that the videos below carry, and calls it a person."""

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        bright = np.argwhere(image_bgr.sum(-1) > 600)
        if not len(bright):
            return []
        y, x = bright.mean(0)
        return [np.tile(np.array([x, y, 0.75], np.float32), (len(COCO17), 1))]


def dot_px(i: int) -> tuple[int, int]:
    return 20 + 5 * i, 40 + 2 * i


def write_video(path: Path, fourcc: str, *, blank: int = -1) -> None:
    """A dot that walks to the lower right; picture ``blank`` is empty."""
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV cannot write {fourcc}")
    for i in range(COUNT):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        if i != blank:
            cv2.circle(image, dot_px(i), 6, (255, 255, 255), -1)
        writer.write(image)
    writer.release()


@pytest.mark.parametrize(("name", "fourcc"), [("walk.mp4", "mp4v"), ("walk.avi", "MJPG")])
def test_a_video_comes_back_with_its_times_and_people(tmp_path: Path, name: str, fourcc: str) -> None:
    write_video(tmp_path / name, fourcc)
    with open_source(str(tmp_path / name), detector=DotDetector()) as source:
        assert source.fps == pytest.approx(FPS) and source.frames == COUNT
        frames = list(source)
        again = list(source)
    assert len(frames) == len(again) == COUNT
    np.testing.assert_allclose([f.t_s for f in frames], np.arange(COUNT) / FPS, atol=2e-3)
    for i, frame in enumerate(frames):
        assert frame.image is not None and frame.image.shape == (HEIGHT, WIDTH, 3) and set(frame.people) == {0}
        x, y = dot_px(i)
        expected = (x / WIDTH * 2 - 1, y / WIDTH * 2 - HEIGHT / WIDTH, 0.75)
        np.testing.assert_allclose(frame.people[0], np.tile(expected, (17, 1)), atol=0.02)


def test_a_picture_without_anybody_is_a_frame_without_people(tmp_path: Path) -> None:
    write_video(tmp_path / "walk.avi", "MJPG", blank=3)
    frames = list(open_source(str(tmp_path / "walk.avi"), detector=DotDetector(), frames=6))
    assert [len(f.people) for f in frames] == [1, 1, 1, 0, 1, 1]


def test_a_video_without_times_counts_its_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "walk.avi", "MJPG")
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "CAP_PROP_POS_MSEC", -999)  # unknown properties read 0
    frames = list(open_source(str(tmp_path / "walk.avi"), detector=DotDetector(), frames=5))
    np.testing.assert_allclose([f.t_s for f in frames], np.arange(5) / FPS, atol=1e-9)


def test_pictures_without_a_detector_are_refused(tmp_path: Path) -> None:
    (tmp_path / "walk.mp4").write_bytes(b"anything")
    with pytest.raises(UsageError, match="--detector movenet:FILE"):
        open_source(str(tmp_path / "walk.mp4"))


@pytest.mark.parametrize("content", [b"", b"this is no video at all", b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 400])
def test_a_file_that_is_no_video_is_said_so(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "walk.mp4").write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read as a video"):
        open_source(str(tmp_path / "walk.mp4"), detector=DotDetector())


@pytest.mark.parametrize(("name", "fourcc"), [("walk.mp4", "mp4v"), ("walk.avi", "MJPG")])
def test_a_truncated_video_does_not_end_as_if_nothing_were(tmp_path: Path, name: str, fourcc: str) -> None:
    write_video(tmp_path / name, fourcc)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"broke off after \d+ of 24 frames|cannot be read as a video"):
        list(open_source(str(tmp_path / name), detector=DotDetector()))


def test_opencv_and_ffmpeg_add_nothing_of_their_own_to_our_errors(tmp_path: Path) -> None:
    write_video(tmp_path / "cut.avi", "MJPG")
    (tmp_path / "cut.avi").write_bytes((tmp_path / "cut.avi").read_bytes()[:-4000])
    (tmp_path / "none.mp4").write_text("no video")
    script = """
import sys
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.sources import open_source

class Nobody:
    def detect(self, image_bgr):
        return []

for name in sys.argv[1:]:
    try:
        for frame in open_source(name, detector=Nobody()):
            pass
    except SourceError:
        print("SourceError")
"""
    names = [str(tmp_path / name) for name in ("cut.avi", "none.mp4")]
    # In a process of its own: FFmpeg's log level is read once, and the tests above have written videos.
    ran = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["SourceError"] * 2, "")


def test_a_missing_video_is_missing_before_anything_else() -> None:
    with pytest.raises(SourceError, match=r"no file nowhere\.mp4"):
        open_source("nowhere.mp4")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cameras are files on Linux only")
@pytest.mark.parametrize("uri", ["camera977", "v4l2:///dev/video977"])
def test_a_camera_that_is_not_there_names_those_that_are(
    uri: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(video, "list_cameras", lambda: ["/dev/video3"])
    with pytest.raises(
        SourceError, match=r"no camera /dev/video977; cameras of this machine: /dev/video3; run: posemoe-edge run"
    ):
        open_source(uri)
    monkeypatch.setattr(video, "list_cameras", lambda: [])
    with pytest.raises(SourceError, match="cameras of this machine: none"):
        open_source(uri)
    assert capfd.readouterr().err == ""


def test_cameras_are_listed_by_number() -> None:
    numbers = [int(name.removeprefix("/dev/video")) for name in list_cameras()]
    assert numbers == sorted(numbers)


class FakeCapture:
    """A camera that gives three pictures and is pulled out."""

    def __init__(self, index: int) -> None:
        self.left = 3

    def isOpened(self) -> bool:
        return True

    def get(self, prop: int) -> float:
        return 30.0

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, np.full((HEIGHT, WIDTH, 3), 255, np.uint8)

    def release(self) -> None: ...


def test_a_camera_gives_frames_by_the_clock_until_it_is_pulled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(video.sys, "platform", "elsewhere")  # so that no /dev/video0 is asked for
    before = time.monotonic()
    frames = []
    with pytest.raises(SourceError, match="camera /dev/video0 stopped after 3 frames"):
        for frame in open_source("camera0", detector=DotDetector()):
            frames.append(frame)
    times = [f.t_s for f in frames]
    assert len(times) == 3 and times == sorted(times) and before <= times[0] <= time.monotonic()
    assert len(list(open_source("camera0", detector=DotDetector(), frames=2))) == 2


def test_without_opencv_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "walk.mp4").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingError, match=r'pip install "posemoe-edge\[camera\]"'):
        open_source(str(tmp_path / "walk.mp4"), detector=DotDetector())
