"""The pictures of a camera that is mounted turned, made upright."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..errors import UsageError
from ..events import SourceChanged
from .base import BaseSource, CameraFrame, Source, SourceInfo, SourceItem

Degrees = Literal[90, 180, 270]


class RotatedSource(BaseSource):
    """A source of pictures, each turned clockwise.

    What follows sees the turned pictures alone: keypoints, the camera and the axes of poses are theirs. A camera that the
    source knows is turned with them.

    Args:
        source: it is closed with this one.
        degrees: how far each picture is turned clockwise: 90, 180 or 270.

    Raises:
        UsageError: another angle, or a source of keypoints.
    """

    def __init__(self, source: Source, degrees: int) -> None:
        if degrees not in get_args(Degrees):
            raise UsageError(f"pictures turned by {degrees} degrees", expected="90, 180 or 270")
        if not source.pictures:
            raise UsageError("a source of keypoints cannot be turned", expected="a source of pictures: a camera, a video")
        self._source, self._quarters = source, degrees // 90

    @property
    def pictures(self) -> bool:
        return True

    @property
    def info(self) -> SourceInfo:
        info = self._source.info
        return info if info.camera is None else replace(info, camera=info.camera.turned(self._quarters))

    @property
    def files(self) -> Sequence[Path]:
        return self._source.files if isinstance(self._source, BaseSource) else []

    def __iter__(self) -> Iterator[SourceItem]:
        for item in self._source:
            if isinstance(item, CameraFrame):
                item = replace(item, image_bgr=np.ascontiguousarray(np.rot90(item.image_bgr, -self._quarters)))
            elif isinstance(item, SourceChanged) and self._quarters % 2:
                item = replace(item, width=item.height, height=item.width)
            yield item

    def close(self) -> None:
        self._source.close()
