"""What video files and cameras share: an OpenCV capture that is opened when it is first needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import missing_extra
from .base import BaseSource

_LOG_LEVEL_SILENT = 0  # of cv2.setLogLevel
_MOST_PIXELS = 1 << 27  # of a picture: 400 MB in memory, of a file that may have a kilobyte
WITHOUT_A_CAMERA = 'posemoe-edge run "synthetic://walk?people=1"'


class CaptureSource(BaseSource):
    """A source of pictures that owns a ``cv2.VideoCapture``.

    Args:
        frames: at most so many frames, None for all.
    """

    def __init__(self, *, frames: int | None = None) -> None:
        self._max_frames = frames
        self._capture: Any = None

    @property
    def pictures(self) -> bool:
        return True

    def _fps(self) -> float | None:
        """The frame rate that the open capture reports, if it is a positive number."""
        fps = float(self._capture.get(import_cv2().CAP_PROP_FPS))
        return fps if np.isfinite(fps) and fps > 0 else None

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def import_cv2() -> Any:
    """The module ``cv2``, or a ``MissingError`` that names the extra."""
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(_MOST_PIXELS))  # it reads that when it is loaded
    try:
        import cv2
    except ImportError:
        raise missing_extra("opencv-python-headless", "camera", "reading pictures") from None
    return cv2


@contextmanager
def silenced(cv2: Any) -> Iterator[None]:
    """Keep OpenCV and the FFmpeg inside it from writing to stderr: the source raises an error of its own instead."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; FFmpeg reads it once, at its first file
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has the functions at its top
    level = logging.setLogLevel(_LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
