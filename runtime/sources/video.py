"""A video file through OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import SourceError
from .base import CameraFrame, SourceInfo
from .opencv_capture import WITHOUT_A_CAMERA, CaptureSource, import_cv2, silenced

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".gif")

# These containers store how many frames they hold; for the others OpenCV estimates the number from the duration.
_SUFFIXES_WITH_COUNT = (".mp4", ".avi", ".mov")
_COMPLETE_SHARE = 0.95  # a file that ends before this share of its frames was truncated


class VideoSource(CaptureSource):
    """A video file; frames carry the file's own times. Each iteration starts at the first frame.

    Args:
        path: the file.
        frames: at most so many frames, None for all.
    """

    def __init__(self, path: str | Path, *, frames: int | None = None) -> None:
        super().__init__(frames=frames)
        self.path = Path(path)
        if not self.path.is_file():
            raise SourceError(f"no file {self.path}", expected="a video file", run=WITHOUT_A_CAMERA)

    @property
    def info(self) -> SourceInfo:
        if self._capture is None:
            self._open()
        count = self._stored_count()
        frames = self._max_frames if count is None else min(count, self._max_frames or count)
        return SourceInfo(str(self.path), fps=self._fps(), frames=frames)

    def __iter__(self) -> Iterator[CameraFrame]:
        cv2 = import_cv2()
        self.close()
        self._open()
        fps, count = self._fps(), self._stored_count()
        last_s, index = -1e-6, 0
        while self._max_frames is None or index < self._max_frames:
            with silenced(cv2):
                read, image = self._capture.read()
            if not read:
                break
            t_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            if not t_s > last_s:  # a file without times: all of them read 0 or less
                t_s = max(index / (fps or 30.0), float(np.nextafter(last_s, np.inf)))
            yield CameraFrame(t_s, image)
            if self._capture is None:
                return  # the consumer of the frames closed the source
            last_s, index = t_s, index + 1
        else:
            return
        if index == 0 or (count is not None and index < _COMPLETE_SHARE * count):
            of = f"{count} frames" if count else "an unknown number of frames"
            raise SourceError(f"{self.path} ended early, after {index} of {of}", expected="a complete video")

    def _open(self) -> None:
        cv2 = import_cv2()
        with silenced(cv2):
            self._capture = cv2.VideoCapture(str(self.path))
        if not self._capture.isOpened():
            self.close()
            raise SourceError(f"{self.path} cannot be read as a video", expected="a complete file that OpenCV can decode")

    def _stored_count(self) -> int | None:
        """How many frames the open file says that it holds."""
        count = int(self._capture.get(import_cv2().CAP_PROP_FRAME_COUNT))
        return count if count > 0 and self.path.suffix.lower() in _SUFFIXES_WITH_COUNT else None
