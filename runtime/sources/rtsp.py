"""``rtsp://...``: a network camera, through PyAV or GStreamer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal, get_args
from urllib.parse import unquote

from ..errors import SourceError, UsageError
from ..registry import suggest
from .base import BaseSource, CameraFrame, Source, SourceInfo
from .latest import LatestSource
from .pyav import import_av, reason_of, upright_bgr
from .reconnecting import ReconnectingSource
from .redaction import redacted
from .stream_clock import Clock, StreamClock

OPEN_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 1.0  # without any data; a camera that sends a frame less than once a second needs backend=gstreamer
_NO_PICTURE_S = 10.0  # data, but no picture: longer than cameras wait between two key frames
Transport = Literal["tcp", "udp"]
_OPTIONS: dict[str, tuple[str, ...]] = {
    "backend": ("pyav", "gstreamer"),
    "clock": get_args(Clock),
    "transport": get_args(Transport),
}
_LOW_DELAY = {
    "allowed_media_types": "video",  # else the reports of the sound move the clock of the pictures
    "fpsprobesize": "0",  # a look at the beginning of the stream as short as possible; what was seen is kept (no "nobuffer"),
    "analyzeduration": "20000",  # since its first picture is a key frame, and the next one may be seconds away
    "flags": "low_delay",
    "max_delay": "0",
}


class RtspSource(BaseSource):
    """One connection to a network camera. It ends with the server, and raises a ``SourceError`` on a stall.

    Args:
        url: with user and password if the camera asks for them; errors and ``info`` never show these.
        clock: of the frames' times, see ``StreamClock``.
        transport: of the pictures; over UDP a packet that is lost damages some of them.
    """

    def __init__(self, url: str, *, clock: Clock = "arrival", transport: Transport = "tcp") -> None:
        self._url, self._clock, self._transport = url, clock, transport
        self.name = redacted(url)
        self._container: Any = None

    @property
    def pictures(self) -> bool:
        return True

    @property
    def info(self) -> SourceInfo:
        rate = self._open().streams.video[0].guessed_rate
        return SourceInfo(self.name, fps=float(rate) if rate else None, live=True)

    def __iter__(self) -> Iterator[CameraFrame]:
        av = import_av()
        container, clock = self._open(), StreamClock(self._clock)
        stream = container.streams.video[0]
        stream.thread_type = "NONE"  # each thread would hold a frame back
        asked_s = picture_s = time.monotonic()
        try:
            for packet in container.demux(stream):
                arrived_s = time.monotonic()
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    frames = []  # before the first key frame, or damaged
                picture_s = arrived_s if frames else picture_s
                if arrived_s - picture_s > _NO_PICTURE_S:
                    raise SourceError(f"{self.name} sends data but no picture for {_NO_PICTURE_S:g} s")
                for frame in frames:
                    sender_s, waited_s = _sender_s(container, frame), arrived_s - asked_s
                    t_s = clock.see(frame.time, arrived_s=arrived_s, sender_s=sender_s, waited_s=waited_s)
                    if t_s is not None:
                        yield CameraFrame(t_s, upright_bgr(frame), arrived_s)
                asked_s = time.monotonic()
        except av.error.FFmpegError as error:
            raise SourceError(f"{self.name}: {reason_of(error)}") from None

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self) -> Any:
        """The open container, which has a video stream."""
        if self._container is None:
            av = import_av()
            began_s = time.monotonic()
            options = {"rtsp_transport": self._transport, **_LOW_DELAY}
            try:
                self._container = av.open(self._url, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S), options=options)
            except av.error.FFmpegError as error:
                late = time.monotonic() - began_s >= OPEN_TIMEOUT_S  # which FFmpeg reports as all sorts of failures
                reason = f"no answer within {OPEN_TIMEOUT_S:g} s" if late else reason_of(error)
                what = f"{self.name} cannot be opened: {reason}"
                raise SourceError(what, expected="a camera that answers at this address") from None
            if not self._container.streams.video:
                self.close()
                raise SourceError(f"{self.name} has no pictures", expected="a video stream")
        return self._container


def open_rtsp(location: str, *, frames: int | None) -> LatestSource:
    """``USER:PASSWORD@HOST:554/PATH``, with the options ``backend=gstreamer``, ``clock=sender`` and ``transport=udp`` among
    the camera's own."""
    url, options = split_options(f"rtsp://{location}")
    clock: Clock = "sender" if options.get("clock") == "sender" else "arrival"
    transport: Transport = "udp" if options.get("transport") == "udp" else "tcp"

    def open_once() -> Source:
        if options.get("backend") == "gstreamer":
            from .gstreamer import GStreamerSource

            return GStreamerSource.rtsp(url, clock=clock, transport=transport)
        return RtspSource(url, clock=clock, transport=transport)

    return LatestSource(ReconnectingSource(open_once), frames=frames)


def split_options(url: str) -> tuple[str, dict[str, str]]:
    """The URL for the camera, whose own query stays as it is, and our options."""
    base, mark, query = url.partition("?")
    theirs, ours = list[str](), dict[str, str]()
    for part in query.split("&") if mark else []:
        key, _, text = part.partition("=")
        if key in _OPTIONS:
            ours[key] = unquote(text)
            if ours[key] not in _OPTIONS[key]:
                suggestion = suggest(ours[key], _OPTIONS[key])
                raise UsageError(
                    f"{key}={ours[key]} of {redacted(base)}{suggestion}", expected=f"{key}={' or '.join(_OPTIONS[key])}"
                )
        else:
            theirs.append(part)
    return base + (f"?{'&'.join(theirs)}" if theirs else ""), ours


def _sender_s(container: Any, frame: Any) -> float | None:
    """Capture time by the camera's clock, once its first RTCP report is there."""
    start_us = container.start_time_realtime
    return None if not start_us or start_us < 0 or frame.time is None else start_us / 1e6 + frame.time
