"""Any Python iterable of pictures or of people as a source."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, get_args

from ..errors import UsageError
from .base import BaseSource, CameraFrame, People, SourceInfo, SourceItem


class IterableSource(BaseSource):
    """The items of an iterable, such as a generator that a program of one's own feeds.

    Args:
        iterable: of ``CameraFrame``s or of ``People``, in the order of their time, and what happens to the source between
            them. An iterator can be read once.
        pictures: whether its frames are ``CameraFrame``s.
        fps: nominal frames a second, None if unknown.
        live: its frames come when they come. The arrival of each is noted, unless it is known already.
        name: as error messages and sinks name it.
    """

    def __init__(
        self,
        iterable: Iterable[SourceItem],
        *,
        pictures: bool,
        fps: float | None = None,
        live: bool = False,
        name: str = "iterable",
    ) -> None:
        self._iterable, self._pictures = iterable, pictures
        self._info = SourceInfo(name, fps=fps, live=live)

    @property
    def pictures(self) -> bool:
        return self._pictures

    @property
    def info(self) -> SourceInfo:
        return self._info

    def __iter__(self) -> Iterator[SourceItem]:
        wrong, right = (People, CameraFrame) if self._pictures else (CameraFrame, People)
        for item in self._iterable:
            if isinstance(item, wrong) or not isinstance(item, get_args(SourceItem)):
                raise UsageError(f"{self._info.name} gave a {type(item).__name__}", expected=f"a {right.__name__}")
            if self._info.live and isinstance(item, CameraFrame | People) and item.arrived_s is None:
                item = replace(item, arrived_s=time.monotonic())
            yield item

    def close(self) -> None:
        """Close a generator, so that its ``finally`` is run."""
        close: Any = getattr(self._iterable, "close", None)
        if close is not None:
            close()
