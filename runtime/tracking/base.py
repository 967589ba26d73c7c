"""The protocol of trackers: which detection of this frame is which person of the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..detectors.base import Detection
from ..detectors.region import Region


@runtime_checkable
class Tracker(Protocol):
    """Gives the people that a detector finds ids that last from frame to frame."""

    def update(self, detections: Sequence[Detection], *, t_s: float) -> dict[int, Detection]:
        """Person id -> detection of the frame at ``t_s`` seconds. A detection that is left out is not lifted."""
        ...

    def regions(self, *, t_s: float) -> list[Region]:
        """Where the people of earlier frames are expected at ``t_s``, for those whose detections have a region."""
        ...

    def reset(self) -> None:
        """Forget everybody: the next frame is a first one."""
        ...
