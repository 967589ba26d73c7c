"""The protocol of sinks: where the events of a run go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from ..events import Event
from ..pose.camera_model import Camera, FieldOfView
from ..pose.smoothing import Smooth
from ..sight import ViewFrom
from ..sources.base import SourceInfo


@dataclass(frozen=True)
class RunInfo:
    """What a sink is told about a run before its first event.

    Args:
        source: where the frames come from.
        preset, precision, mode, engine: what lifts them.
        latency_frames: how many frames a pose lies behind the newest frame.
        view_from: what looks at each person: "none" (the lifter sees the picture as it is), its "graph", or the "runtime",
            which knows the camera.
        camera: that sees the people, as far as it is known.
        graph: identifies the graph that lifts them: its sha256, or the path of a standalone ONNX file.
        smooth, hold_s, flip: what the pipeline does besides.
    """

    source: SourceInfo
    preset: str
    precision: str
    mode: str
    engine: str
    latency_frames: int
    view_from: ViewFrom = "none"
    camera: Camera | FieldOfView | None = None
    graph: str = ""
    smooth: Smooth = "off"
    hold_s: float = 0.0
    flip: bool = False


@runtime_checkable
class Sink(Protocol):
    """Takes the events of a run: ``open``, ``write`` for each event, then ``close`` to keep the result, or ``abort``.

    ``close`` and ``abort`` may be called without ``open``, and a second call of either does nothing. As a context manager a
    sink closes at the end and aborts on an exception.
    """

    def open(self, run: RunInfo) -> None: ...

    def write(self, event: Event) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


BaseSinkT = TypeVar("BaseSinkT", bound="BaseSink")


class BaseSink:
    """The context manager that sinks share: closed at the end, aborted on an exception.

    ``written`` is the file that ``close`` kept; None before, and if there was nothing to keep. ``threaded`` says whether a
    pipeline may call ``write`` in a thread of its own, one call at a time.
    """

    written: Path | None = None
    threaded: ClassVar[bool] = True

    def open(self, run: RunInfo) -> None:
        """Begin a run."""

    def write(self, event: Event) -> None:
        """Take one event; those that mean nothing to the sink are ignored."""
        raise NotImplementedError

    def close(self) -> None:
        """Keep what was written; a second call does nothing."""
        raise NotImplementedError

    def abort(self) -> None:
        """Discard what was written, and leave a file that was there before as it was."""
        raise NotImplementedError

    def __enter__(self: BaseSinkT) -> BaseSinkT:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
