"""``video:FILE.mp4``: the run as a video that browsers play, with skeletons over the picture and people in 3D beside it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from ..artefact.atomic import AtomicFile
from ..destination import check_destination, check_space
from ..errors import MissingError, UsageError, missing_extra
from ..events import Event, PoseFrame
from ..overlay import RunView
from .base import BaseSink, RunInfo

ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "22"},
    "libopenh264": {},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}
"""Encoders of what browsers play in an MP4 file, the best first -> options. Not every build of FFmpeg has all of them."""

_FRAME_BYTES = 500  # at least, of a frame in the file
_TICKS = 90_000  # of a second: the time base of the file


class VideoSink(BaseSink):
    """Writes a video whose frames keep their times; it appears when it is closed. A run without frames leaves no file.

    Args:
        path: the file, ``.mp4``.

    Raises:
        UsageError: another suffix.
        MissingError: PyAV is not installed, or can encode nothing that browsers play.
    """

    def __init__(self, path: str | Path) -> None:
        file = Path(path)
        if file.suffix.lower() != ".mp4":
            raise UsageError(f"the video {file}", expected=f"an .mp4 file: video:{file.with_suffix('.mp4')}")
        try:
            import av
        except ImportError:
            raise missing_extra("av", "camera", "writing videos") from None
        self._av: Any = av
        self._encoder = _encoder(av)
        self._view = RunView()
        self.path = file
        check_destination(self.path)
        self._file: AtomicFile | None = AtomicFile(file)
        self._container: Any = None
        self._stream: Any = None
        self._first_s, self._last_tick = 0.0, -1

    def open(self, run: RunInfo) -> None:
        check_space(self.path, _FRAME_BYTES * (run.source.frames or 0))
        self._view = RunView(run)

    def write(self, event: Event) -> None:
        """Draw and encode a frame; other events are not shown."""
        if self._file is None:
            raise ValueError("the sink is closed")
        if not isinstance(event, PoseFrame):
            return
        image = self._view.draw(event)
        if self._container is None:
            self._begin(self._file.partial, width=image.shape[1], height=image.shape[0])
            self._first_s = event.t_s
        picture = self._av.VideoFrame.from_ndarray(image, format="bgr24")
        tick = round((event.t_s - self._first_s) * _TICKS)
        if tick < self._last_tick - _TICKS:  # the source's clock began anew: go on from here
            tick = self._last_tick + _TICKS // 30
            self._first_s = event.t_s - tick / _TICKS
        self._last_tick = max(tick, self._last_tick + 1)  # times must grow
        picture.pts, picture.time_base = self._last_tick, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        if self._container is None:
            file.discard()
            return
        with file.committing():
            self._container.mux(self._stream.encode(None))
            self._container.close()
        self.written = file.path

    def abort(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if self._container is not None:
                self._container.close()
        except (OSError, ValueError):
            pass  # the disk is full, for example: the file is discarded all the same
        finally:
            file.discard()

    def _begin(self, path: Path, *, width: int, height: int) -> None:
        # FFmpeg takes what stands before a colon for a protocol, but not behind a slash.
        self._container = self._av.open(str(path.absolute()), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream(self._encoder, rate=30, options=ENCODERS[self._encoder])
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._stream.codec_context.max_b_frames = 0  # a frame is decoded when it is shown, so that times stay what they are


def _encoder(av: Any) -> str:
    """The first of ``ENCODERS`` that the installed FFmpeg has."""
    for name in ENCODERS:
        try:
            av.Codec(name, "w")
        except ValueError:
            continue
        return name
    raise MissingError(
        "the installed FFmpeg encodes nothing that browsers play",
        expected=f"one of the encoders {', '.join(ENCODERS)}",
        run="pip install --force-reinstall av",
    )
