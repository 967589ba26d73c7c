"""A camera of this machine through OpenCV."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import SourceError
from .base import CameraFrame, SourceInfo
from .opencv_capture import WITHOUT_A_CAMERA, CaptureSource, import_cv2, silenced


def list_cameras() -> list[str]:
    """The cameras of this machine, as ``/dev/videoN`` (Linux; on other systems the list is empty)."""
    devices = [path for path in Path("/dev").glob("video*") if path.name[5:].isdecimal()]
    return [str(path) for path in sorted(devices, key=lambda path: int(path.name[5:]))]


class CameraSource(CaptureSource):
    """A camera until it is unplugged; frames carry ``time.monotonic()`` at the moment they were grabbed.

    Args:
        index: N of ``/dev/videoN``.
        frames: at most so many frames, None for no end.
    """

    def __init__(self, index: int, *, frames: int | None = None) -> None:
        super().__init__(frames=frames)
        self.index = index
        self.name = f"/dev/video{index}"
        if sys.platform.startswith("linux") and not Path(self.name).exists():
            raise self._absent("no camera")

    @property
    def info(self) -> SourceInfo:
        if self._capture is None:
            self._open()
        return SourceInfo(self.name, fps=self._fps(), frames=self._max_frames, live=True)

    def __iter__(self) -> Iterator[CameraFrame]:
        if self._capture is None:
            self._open()
        index = 0
        while self._capture is not None and (self._max_frames is None or index < self._max_frames):
            grabbed = self._capture.grab()
            t_s = time.monotonic()
            if grabbed:
                grabbed, image = self._capture.retrieve()
            if not grabbed:
                what = f"the camera {self.name} stopped after {index} frames"
                raise SourceError(what, expected="a camera that stays plugged in")
            yield CameraFrame(t_s, image, arrived_s=t_s)
            index += 1

    def _open(self) -> None:
        cv2 = import_cv2()
        with silenced(cv2):
            self._capture = cv2.VideoCapture(self.index)
        if not self._capture.isOpened():
            self.close()
            raise self._absent("nothing can be read from the camera")

    def _absent(self, what: str) -> SourceError:
        others = ", ".join(list_cameras()) or "none"
        return SourceError(f"{what} {self.name}; cameras of this machine: {others}", run=WITHOUT_A_CAMERA)
