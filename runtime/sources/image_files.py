"""Pictures in files: one picture, or a folder of them as the frames of a clip."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np

from ..arrays import ImageBgr
from ..bounds import check_fps
from ..errors import SourceError, UsageError
from ..file_kind import check_stand_in
from .base import BaseSource, CameraFrame, SourceInfo
from .opencv_capture import WITHOUT_A_CAMERA, import_cv2, silenced

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
DEFAULT_FPS = 30.0

_EXPECTED = "complete files that OpenCV can decode"

_log = logging.getLogger(__name__)


class ImageFilesSource(BaseSource):
    """A picture as one frame, or the pictures of a folder as frames in the natural order of their names (2 before 10).

    The orientation that a phone writes into a picture is applied. A picture of a folder that cannot be read is left out
    with a warning in the log, and the times of the others stay.

    Args:
        path: a picture, or a folder with pictures.
        fps: pictures a second of a folder.
        frames: at most so many frames, None for all.
    """

    def __init__(self, path: str | Path, *, fps: float = DEFAULT_FPS, frames: int | None = None) -> None:
        self.path = Path(path)
        self.fps = check_fps(str(path), fps, error=UsageError)
        if self.path.is_dir():
            pictures = [file for file in self.path.iterdir() if _is_picture(file)]
            if not pictures:
                raise SourceError(f"no pictures in the folder {self.path}", expected=f"files named *{', *'.join(SUFFIXES)}")
        elif self.path.is_file():
            check_stand_in(self.path, expected=_EXPECTED, pictures=True, error=SourceError)  # before a detector is asked for
            pictures = [self.path]
        else:
            raise SourceError(f"no file {self.path}", expected="a picture, or a folder of pictures", run=WITHOUT_A_CAMERA)
        self._pictures = sorted(pictures, key=natural_order)[:frames]

    @property
    def pictures(self) -> bool:
        return True

    @property
    def info(self) -> SourceInfo:
        fps = self.fps if self.path.is_dir() else None
        return SourceInfo(str(self.path), fps=fps, frames=len(self._pictures))

    @property
    def files(self) -> Sequence[Path]:
        return self._pictures

    def __iter__(self) -> Iterator[CameraFrame]:
        unreadable = 0
        for index, file in enumerate(self._pictures):
            image = _read(file)
            if image is None:
                unreadable += 1
                _log.warning("%s cannot be read as a picture and is left out", file)
            else:
                yield CameraFrame(index / self.fps, image)
        if unreadable == len(self._pictures):
            what = f"{self.path} cannot be read as a picture"
            if self.path.is_dir():
                check_stand_in(self._pictures[0], expected=_EXPECTED, pictures=True, error=SourceError)
                what = f"none of the {unreadable} pictures in the folder {self.path} can be read"
            raise SourceError(what, expected=_EXPECTED)


def open_image_files(location: str, *, frames: int | None) -> ImageFilesSource:
    """``FILE.jpg``, ``FOLDER`` or ``FOLDER?fps=10``"""
    if Path(location).exists():
        return ImageFilesSource(location, frames=frames)
    path, _, query = location.partition("?")
    fps = DEFAULT_FPS
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key != "fps":
            raise UsageError(f"pictures have no option {key!r}", expected=f"{path}?fps=10")
        try:
            fps = float(text)
        except ValueError:
            raise UsageError(f"fps={text} of {path}", expected="fps=a number") from None
    return ImageFilesSource(path, fps=fps, frames=frames)


def natural_order(file: Path) -> list[tuple[int, int, str]]:
    """The key that sorts names as people do: numbers in them by value.

    >>> sorted(map(Path, ["b10.png", "b2.png", "a.png"]), key=natural_order) == [Path("a.png"), Path("b2.png"), Path("b10.png")]
    True
    """
    parts = re.findall(r"\d+|\D+", file.name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.lower()) for part in parts]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _read(file: Path) -> ImageBgr | None:
    """(H, W, 3) with the orientation that the file names applied; None if it cannot be decoded."""
    cv2 = import_cv2()
    try:
        content = np.frombuffer(file.read_bytes(), np.uint8)
    except OSError:
        return None
    if not content.size:
        return None
    with silenced(cv2):
        try:
            image: ImageBgr | None = cv2.imdecode(content, cv2.IMREAD_COLOR)
        except cv2.error:  # a picture with more pixels than OpenCV accepts
            return None
    return image
