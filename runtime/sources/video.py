"""Pictures through OpenCV: a video file or a camera, with a detector that finds the people in them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detectors import Detector
from ..errors import SourceError, UsageError, missing_extra
from ..pose.keypoints import normalise_screen
from ..pose.skeleton import coco_to_h36m
from ..pose.types import Frame
from .base import BaseSource

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")
WITHOUT_A_CAMERA = 'posemoe-edge run "synthetic://walk?people=1"'

# These containers store how many frames they hold; in the others OpenCV estimates it from the duration.
_COUNTED = (".mp4", ".avi", ".mov")
_LOG_LEVEL_SILENT = 0  # of cv2.setLogLevel
_LOST = 0.95  # a file that ends before this part of its frames was cut off


def list_cameras() -> list[str]:
    """The cameras of this machine, as ``/dev/videoN`` (Linux; elsewhere none can be listed)."""
    found = [p for p in Path("/dev").glob("video*") if p.name[5:].isdecimal()]
    return [str(p) for p in sorted(found, key=lambda p: int(p.name[5:]))]


class _OpenCvSource(BaseSource):
    """What video files and cameras share: pictures in, frames with people out."""

    def __init__(self, *, detector: Detector | None, frames: int | None, recipe: str) -> None:
        if detector is None:
            raise UsageError("pictures need a detector that finds the people in them", run="... --detector movenet:FILE")
        self._detector, self._recipe, self._most = detector, recipe, frames
        self._capture: Any = None
        self.fps: float | None = None
        self.frames: int | None = None

    def _frame(self, t_s: float, image: NDArray[np.uint8]) -> Frame:
        """Everybody in one picture; ids are the detector's order."""
        height, width = image.shape[:2]
        people = {
            person: normalise_screen(coco_to_h36m(found, self._recipe), width_px=width, height_px=height)
            for person, found in enumerate(self._detector.detect(image))
        }
        return Frame(t_s=t_s, people=people, image=image)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class VideoSource(_OpenCvSource):
    """A video file; frames carry the file's own times.

    Args:
        path: the file.
        detector: finds the people.
        frames: at most so many frames, None for all.
        recipe: how COCO-17 keypoints become Human3.6M-17.
    """

    def __init__(
        self, path: str | Path, *, detector: Detector | None, frames: int | None = None, recipe: str = "coco_eyes"
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise SourceError(f"no file {self.path}", expected="a video file", run=WITHOUT_A_CAMERA)
        super().__init__(detector=detector, frames=frames, recipe=recipe)
        cv2 = _opencv()
        self._open()
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = rate if np.isfinite(rate) and rate > 0 else None
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._count = count if count > 0 and self.path.suffix.lower() in _COUNTED else None
        self.frames = frames if self._count is None else min(self._count, frames or self._count)

    def _open(self) -> None:
        cv2 = _opencv()
        with _quiet(cv2):
            self._capture = cv2.VideoCapture(str(self.path))
        if not self._capture.isOpened():
            self.close()
            raise SourceError(f"{self.path} cannot be read as a video", expected="a whole file that OpenCV can decode")

    def __iter__(self) -> Iterator[Frame]:
        """From the first frame on, each time."""
        cv2 = _opencv()
        self.close()
        self._open()
        before_s, index = -1e-6, 0
        while self._most is None or index < self._most:
            with _quiet(cv2):
                got, image = self._capture.read()
            if not got:
                break
            t_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            if not t_s > before_s:  # a file without times: all of them read 0 or less
                t_s = max(index / (self.fps or 30.0), float(np.nextafter(before_s, np.inf)))
            yield self._frame(t_s, image)
            if self._capture is None:
                return  # closed by the reader of the frames
            before_s, index = t_s, index + 1
        else:
            return
        if index == 0 or (self._count is not None and index < _LOST * self._count):
            of = f"{self._count} frames" if self._count else "an unknown number of frames"
            raise SourceError(f"{self.path} broke off after {index} of {of}", expected="a whole video")


class CameraSource(_OpenCvSource):
    """A camera of this machine; frames carry ``time.monotonic()`` at the moment they were read.

    Args:
        index: N of ``/dev/videoN``.
        detector: finds the people.
        frames: at most so many frames, None for no end.
        recipe: how COCO-17 keypoints become Human3.6M-17.
    """

    def __init__(self, index: int, *, detector: Detector | None, frames: int | None = None, recipe: str = "coco_eyes") -> None:
        self.name = f"/dev/video{index}"
        if sys.platform.startswith("linux") and not Path(self.name).exists():
            raise self._absent("no camera")
        super().__init__(detector=detector, frames=frames, recipe=recipe)
        cv2 = _opencv()
        with _quiet(cv2):
            self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            self.close()
            raise self._absent("nothing can be read from the camera")
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = rate if np.isfinite(rate) and rate > 0 else None
        self.frames = frames

    def _absent(self, what: str) -> SourceError:
        others = ", ".join(list_cameras()) or "none"
        return SourceError(f"{what} {self.name}; cameras of this machine: {others}", run=WITHOUT_A_CAMERA)

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while self._capture is not None and (self._most is None or index < self._most):
            got = self._capture.grab()
            t_s = time.monotonic()
            if got:
                got, image = self._capture.retrieve()
            if not got:
                what = f"the camera {self.name} stopped after {index} frames"
                raise SourceError(what, expected="a camera that stays plugged in")
            yield self._frame(t_s, image)
            index += 1


def _opencv() -> Any:
    try:
        import cv2
    except ImportError:
        raise missing_extra("opencv-python-headless", "camera", "reading pictures") from None
    return cv2


@contextmanager
def _quiet(cv2: Any) -> Iterator[None]:
    """OpenCV and the FFmpeg inside it say nothing on stderr: what went wrong becomes our error."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read once, at FFmpeg's first file
    log = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has the functions at its top
    before = log.setLogLevel(_LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)
