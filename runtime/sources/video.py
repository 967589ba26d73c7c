"""A video file through OpenCV."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import SourceError
from ..file_kind import check_stand_in
from .base import CameraFrame, SourceInfo
from .opencv_capture import WITHOUT_A_CAMERA, CaptureSource, import_cv2, silenced

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".gif")

# These containers store how many frames they hold; for the others OpenCV estimates the number from the duration.
_SUFFIXES_WITH_COUNT = (".mp4", ".avi", ".mov")
_COMPLETE_SHARE = 0.95  # a file that ends before this share of its frames was cut, or counts pictures that are not there

_log = logging.getLogger(__name__)


class VideoSource(CaptureSource):
    """A video file; frames carry the file's own times. Each iteration starts at the first frame.

    A file that breaks off, or holds fewer pictures than its header counts, is read as far as it goes, with a warning.

    Args:
        path: the file.
        frames: at most so many frames, None for all.
    """

    def __init__(self, path: str | Path, *, frames: int | None = None) -> None:
        super().__init__(frames=frames)
        self.path = Path(path)
        if not self.path.is_file():
            raise SourceError(f"no file {self.path}", expected="a video file", run=WITHOUT_A_CAMERA)
        try:
            str(self.path.absolute()).encode()
        except UnicodeEncodeError:  # OpenCV would end the process
            raise SourceError(f"the name {str(self.path)!a} is not UTF-8", expected="a file under another name") from None
        # Here, before a detector is asked for. FFmpeg reads a picture as a video of one frame.
        check_stand_in(self.path, expected="a video file", error=SourceError, pictures=True)

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
        if index == 0:
            raise SourceError(f"{self.path} has no picture that can be read", expected="a complete video")
        if count is not None and index < _COMPLETE_SHARE * count:
            _log.warning(
                "%s: %d pictures could be read, its header counts %d: it was cut, or its camera left some out",
                self.path,
                index,
                count,
            )

    def _open(self) -> None:
        cv2 = import_cv2()
        with silenced(cv2):
            # FFmpeg takes what stands before a colon for a protocol, as in 2026-11-26T10:15:00.mp4, but not behind a slash.
            self._capture = cv2.VideoCapture(str(self.path.absolute()))
        if not self._capture.isOpened():
            self.close()
            raise SourceError(f"{self.path} cannot be read as a video", expected="a complete file that OpenCV can decode")

    def _stored_count(self) -> int | None:
        """How many frames the open file says that it holds: for people to see, never to rely on."""
        count = int(self._capture.get(import_cv2().CAP_PROP_FRAME_COUNT))
        believable = 0 < count <= self.path.stat().st_size  # a frame has a byte
        return count if believable and self.path.suffix.lower() in _SUFFIXES_WITH_COUNT else None
