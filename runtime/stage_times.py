"""How long each stage of a pipeline takes for a frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StageTimes:
    """Measures named stages of one frame after the other: ``with times.stage("track"): ...``, and at its end ``take``."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what runs inside; several measurements of one name in a frame are added up."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - began_s

    def take(self) -> dict[str, float]:
        """Name -> seconds of the frame, in the order in which the stages ran; the next frame begins."""
        seconds, self._seconds = self._seconds, {}
        return seconds
