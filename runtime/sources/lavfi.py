"""``lavfi:GRAPH``: pictures that FFmpeg draws, for a machine without a camera."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import SourceError
from .base import BaseSource, CameraFrame, SourceInfo
from .pyav import import_av, reason_of, upright_bgr


class LavfiSource(BaseSource):
    """The pictures of a graph of FFmpeg's filters, as fast as they are taken. Each iteration starts at the first.

    Args:
        graph: as FFmpeg writes it: ``testsrc2=size=640x360:rate=30``.
        frames: at most so many frames, None for as many as the graph has.
    """

    def __init__(self, graph: str, *, frames: int | None = None) -> None:
        self.graph, self._max_frames = graph, frames

    @property
    def pictures(self) -> bool:
        return True

    @property
    def info(self) -> SourceInfo:
        with self._open() as container:
            rate = container.streams.video[0].average_rate
        return SourceInfo(f"lavfi:{self.graph}", fps=float(rate) if rate else None, frames=self._max_frames)

    def __iter__(self) -> Iterator[CameraFrame]:
        av = import_av()
        with self._open() as container:
            index = 0
            try:
                for frame in container.decode(video=0):
                    if self._max_frames is not None and index >= self._max_frames:
                        return
                    yield CameraFrame(float(frame.time or 0.0), upright_bgr(frame))
                    index += 1
            except av.error.FFmpegError as error:
                raise SourceError(f"lavfi:{self.graph} failed after {index} frames: {reason_of(error)}") from None

    def _open(self) -> Any:
        """An open container with a video stream."""
        av = import_av()
        expected = "a graph of FFmpeg's filters, such as testsrc2=size=640x360:rate=30"
        try:
            container = av.open(self.graph, format="lavfi")
        except (av.error.FFmpegError, ValueError) as error:
            reason = reason_of(error) if isinstance(error, av.error.FFmpegError) else "not a graph"
            raise SourceError(f"lavfi:{self.graph} cannot be opened: {reason}", expected=expected) from None
        if not container.streams.video:
            container.close()
            raise SourceError(f"lavfi:{self.graph} has no pictures", expected=expected)
        return container
