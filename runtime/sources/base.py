"""The protocol of sources: where pictures or keypoints come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar, runtime_checkable

from ..arrays import F32, ImageBgr
from ..events import SourceBack, SourceChanged, SourceLost
from ..pose.camera_model import Camera
from ..pose.keypoints import ImageSize, Keypoints


@dataclass(frozen=True)
class SourceInfo:
    """What a source is.

    Args:
        name: as error messages and sinks name it.
        fps: nominal frames a second, None if unknown.
        frames: how many frames it will yield, None if unknown or without end.
        camera: what it knows of its camera; None if nothing.
        live: its frames come when they come: a consumer that is late misses some. Files, which wait, are not live.
    """

    name: str
    fps: float | None = None
    frames: int | None = None
    camera: Camera | None = None
    live: bool = False


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """A picture.

    Args:
        t_s: capture time in seconds, on the source's own clock.
        image_bgr: (H, W, 3) uint8, blue first.
        arrived_s: ``time.monotonic()`` when it reached this process; None where that says nothing, as for a file.
    """

    t_s: float
    image_bgr: ImageBgr
    arrived_s: float | None = None

    @property
    def size(self) -> ImageSize:
        return ImageSize.of(self.image_bgr)


@dataclass(frozen=True, eq=False)
class People:
    """Everybody's keypoints at one instant.

    Args:
        t_s: capture time in seconds, on the source's own clock.
        keypoints: person id -> keypoints. The ids are the source's; no tracker changes them.
        truth_m: person id -> (17, 3) metres relative to the hip in camera axes, where the source knows it.
        truth_root_m: person id -> (3,) metres, the hip in camera axes, where the source knows it.
        arrived_s: ``time.monotonic()`` when they reached this process; None where that says nothing, as for a file.
    """

    t_s: float
    keypoints: Mapping[int, Keypoints]
    truth_m: Mapping[int, F32] | None = None
    truth_root_m: Mapping[int, F32] | None = None
    arrived_s: float | None = None


SourceItem = CameraFrame | People | SourceLost | SourceBack | SourceChanged
BaseSourceT = TypeVar("BaseSourceT", bound="BaseSource")


@runtime_checkable
class Source(Protocol):
    """An iterable of pictures or of people, in the order of their time.

    ``pictures`` says whether it yields ``CameraFrame``s, for which a pipeline needs a detector. It is known before a device
    or a file is opened; ``info`` and the iteration open it.
    """

    @property
    def pictures(self) -> bool: ...

    @property
    def info(self) -> SourceInfo: ...

    def __iter__(self) -> Iterator[SourceItem]: ...

    def close(self) -> None:
        """Release the device or the file; a second call does nothing."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class BaseSource:
    """A source of keypoints that owns nothing; subclasses override what differs. A context manager that closes at the end.

    Attributes:
        checked: its keypoints were looked at as a whole when it opened, and need not be while it goes.
    """

    checked = False

    @property
    def pictures(self) -> bool:
        return False

    @property
    def info(self) -> SourceInfo:
        raise NotImplementedError

    @property
    def files(self) -> Sequence[Path]:
        """What it reads while a run goes, so that no sink writes there."""
        path = getattr(self, "path", None)
        return [path] if isinstance(path, Path) else []

    def __iter__(self) -> Iterator[SourceItem]:
        raise NotImplementedError

    def close(self) -> None:
        """Release the device or the file; a second call does nothing."""

    def __enter__(self: BaseSourceT) -> BaseSourceT:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()
