"""What every source of frames looks like."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, runtime_checkable

from ..pose.types import Frame


@runtime_checkable
class Source(Protocol):
    """An iterable of frames that owns something and gives it back.

    ``fps`` is the nominal rate and ``frames`` the length; both are None where they are not known.
    """

    fps: float | None
    frames: int | None

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class BaseSource:
    """The context manager that sources share: closed on the way out."""

    fps: float | None
    frames: int | None

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the source holds; a second call does nothing."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()
