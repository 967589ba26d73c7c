"""What every sink of poses looks like."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, runtime_checkable

from ..pose.types import Frame, Pose


@runtime_checkable
class Sink(Protocol):
    """Takes the poses of frame after frame; ``close`` keeps the result, ``abort`` throws it away.

    As a context manager it closes at the end, and aborts on an exception.
    """

    def write(self, frame: Frame, poses: dict[int, Pose]) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class BaseSink:
    """The context manager that sinks share: kept at the end, thrown away on an exception."""

    def write(self, frame: Frame, poses: dict[int, Pose]) -> None:
        """Take one frame's poses, person id -> pose."""
        raise NotImplementedError

    def close(self) -> None:
        """Keep what was written; a second call does nothing."""
        raise NotImplementedError

    def abort(self) -> None:
        """Throw away what was written, and leave a file that was there before as it was."""
        raise NotImplementedError

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
