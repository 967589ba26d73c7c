"""Pictures of a GStreamer pipeline: network cameras at the lowest latency, and cameras on the CSI port of a Jetson."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..arrays import ImageBgr
from ..errors import MissingError, SourceError, UsageError
from .base import BaseSource, CameraFrame, Source, SourceInfo
from .latest import LatestSource
from .reconnecting import ReconnectingSource
from .redaction import redacted
from .stream_clock import Clock, StreamClock

OPEN_TIMEOUT_S = 5.0
STALL_S = 2.0
_POLL_S = 0.2
_NTP_TO_UNIX_S = 2_208_988_800  # from 1900 to 1970
_APT = (
    "sudo apt-get install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
    " gstreamer1.0-libav"
)
_SINK = "video/x-raw,format=BGR ! appsink name=pictures sync=false max-buffers=1 drop=true"
_RTSP = "rtspsrc name=camera protocols={transport} latency=0 buffer-mode=none ! decodebin name=decoder ! {convert} ! " + _SINK
_CSI = "nvarguscamerasrc sensor-id={index} ! nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! " + _SINK


class GStreamerSource(BaseSource):
    """One run of a pipeline that ends in an appsink ``pictures``. It raises a ``SourceError`` on an error or a stall.

    Args:
        describe: the pipeline as ``gst-launch-1.0`` writes it, asked for when ``gi`` is there.
        name: as error messages name it.
        clock: of the frames' times, see ``StreamClock``.
        location: of the element ``camera``; with the password, therefore not part of the description.
    """

    def __init__(
        self, describe: Callable[[], str], *, name: str, clock: Clock = "arrival", location: str | None = None
    ) -> None:
        self._describe, self._clock, self._location = describe, clock, location
        self.name = name
        self._pipeline: Any = None
        self._first: Any = None  # the sample that the opening waited for

    @classmethod
    def rtsp(cls, url: str, *, clock: Clock = "arrival", transport: str = "tcp") -> GStreamerSource:
        """A network camera, of any codec that an installed plugin decodes; ``transport`` of its pictures is tcp or udp."""
        return cls(lambda: _describe_rtsp(transport), name=redacted(url), clock=clock, location=url)

    @property
    def pictures(self) -> bool:
        return True

    @property
    def info(self) -> SourceInfo:
        self._open()
        known, over, under = self._first.get_caps().get_structure(0).get_fraction("framerate")
        return SourceInfo(self.name, fps=over / under if known and over and under else None, live=True)

    def __iter__(self) -> Iterator[CameraFrame]:
        self._open()
        clock, sample = StreamClock(self._clock), self._first
        asked_s = picture_s = time.monotonic()
        while self._pipeline is not None:
            if sample is not None:
                arrived_s = picture_s = time.monotonic()
                buffer = sample.get_buffer()
                sender_s, waited_s = _sender_s(buffer), arrived_s - asked_s
                t_s = clock.see(_stream_s(buffer), arrived_s=arrived_s, sender_s=sender_s, waited_s=waited_s)
                if t_s is not None:
                    yield CameraFrame(t_s, _image_bgr(sample), arrived_s)
            if self._pipeline is None:
                return  # the consumer of the frames closed the source
            asked_s = time.monotonic()
            sample = self._next_sample()
            if sample is None and self._has_ended():
                return
            if time.monotonic() - picture_s > STALL_S:
                raise SourceError(f"{self.name}: no picture for {STALL_S:g} s")

    def close(self) -> None:
        pipeline, self._pipeline, self._first = self._pipeline, None, None
        if pipeline is not None:
            pipeline.set_state(import_gst().State.NULL)

    def _open(self) -> None:
        """Start the pipeline, and wait for the first picture."""
        if self._pipeline is not None:
            return
        gst = import_gst()
        try:
            pipeline = gst.parse_launch(self._describe())
        except Exception as error:  # GLib.Error: a plugin is not installed
            raise MissingError(f"{self.name} needs a GStreamer plugin: {_message(error)}", run=_APT) from None
        self._pipeline = pipeline
        pipeline.connect("deep-element-added", _without_frame_threads)
        if self._location is not None:
            camera = pipeline.get_by_name("camera")
            camera.set_property("location", self._location)
            camera.set_property("tcp-timeout", int(OPEN_TIMEOUT_S * 1e6))
            if camera.find_property("add-reference-timestamp-meta") is not None:  # GStreamer 1.22 and later
                camera.set_property("add-reference-timestamp-meta", True)
        try:
            pipeline.set_state(gst.State.PLAYING)
            until_s = time.monotonic() + OPEN_TIMEOUT_S
            while self._first is None:
                self._first = self._next_sample()
                if self._first is None and (self._has_ended() or time.monotonic() > until_s):
                    raise SourceError(f"{self.name} gives no picture", expected=f"one within {OPEN_TIMEOUT_S:g} s")
        except SourceError:
            self.close()
            raise

    def _next_sample(self) -> Any:
        """The newest picture; None if there is none for a moment."""
        return self._pipeline.get_by_name("pictures").emit("try-pull-sample", int(_POLL_S * 1e9))

    def _has_ended(self) -> bool:
        """Whether the stream is at its end; a ``SourceError`` if the pipeline failed."""
        gst = import_gst()
        message = self._pipeline.get_bus().pop_filtered(gst.MessageType.ERROR | gst.MessageType.EOS)
        if message is None:
            return False
        if message.type == gst.MessageType.ERROR:
            raise SourceError(f"{self.name}: {_message(message.parse_error()[0])}")
        return True


def open_csi(location: str, *, frames: int | None) -> LatestSource:
    """``N``: the number of the sensor."""
    if re.fullmatch(r"\d+", location) is None:
        raise UsageError(f"no CSI camera {location!r}", expected="csi://0")
    import_gst()

    def open_once() -> Source:
        return GStreamerSource(lambda: _CSI.format(index=int(location)), name=f"csi://{location}")

    return LatestSource(ReconnectingSource(open_once), frames=frames)


def import_gst() -> Any:
    """The module ``Gst``, initialised; or a ``MissingError`` that names the packages of the system."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError):
        raise MissingError(
            "GStreamer needs the module gi, which this Python does not have",
            expected="the system's Python, or an environment made with --system-site-packages",
            run=_APT,
        ) from None
    Gst.init(None)
    return Gst


def _describe_rtsp(transport: str) -> str:
    """On a Jetson the decoder leaves the picture in memory that only ``nvvidconv`` reads."""
    jetson = import_gst().ElementFactory.find("nvvidconv") is not None
    convert = "nvvidconv ! video/x-raw,format=BGRx ! videoconvert" if jetson else "videoconvert"
    return _RTSP.format(transport=transport, convert=convert)


def _without_frame_threads(pipeline: Any, within: Any, element: Any) -> None:
    """Each thread of FFmpeg's decoders would hold a frame back."""
    if element.get_factory().get_name().startswith("avdec_") and element.find_property("max-threads") is not None:
        element.set_property("max-threads", 1)


def _stream_s(buffer: Any) -> float | None:
    return buffer.pts / 1e9 if buffer.pts != import_gst().CLOCK_TIME_NONE else None


def _sender_s(buffer: Any) -> float | None:
    """Capture time by the camera's clock, once its first RTCP report is there."""
    reference = buffer.get_reference_timestamp_meta(None)
    if reference is None or not reference.reference.to_string().startswith("timestamp/x-ntp"):
        return None
    return float(reference.timestamp / 1e9 - _NTP_TO_UNIX_S)


def _image_bgr(sample: Any) -> ImageBgr:
    """(H, W, 3); GStreamer pads each row to a multiple of four bytes."""
    caps, buffer = sample.get_caps().get_structure(0), sample.get_buffer()
    width, height = caps.get_value("width"), caps.get_value("height")
    row = (3 * width + 3) // 4 * 4
    data = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)  # (H * row,)
    return np.ascontiguousarray(data[: height * row].reshape(height, row)[:, : 3 * width].reshape(height, width, 3))


def _message(error: Any) -> str:
    """GStreamer's own words, without an address."""
    return redacted(str(getattr(error, "message", error))).strip().rstrip(".")
