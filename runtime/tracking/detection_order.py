"""A tracker that does not track: people are numbered in the detector's order."""

from __future__ import annotations

from collections.abc import Sequence

from ..detectors.base import Detection
from ..detectors.region import Region


class DetectionOrderTracker:
    """The id of a person is the place in the detector's list, in every frame anew.

    This suits a detector that finds one person. With several people the ids are swapped whenever the detector's order changes.
    """

    def __init__(self) -> None:
        self._regions: list[Region] = []

    def update(self, detections: Sequence[Detection], *, t_s: float) -> dict[int, Detection]:
        self._regions = [detection.region for detection in detections if detection.region is not None]
        return dict(enumerate(detections))

    def regions(self, *, t_s: float) -> list[Region]:
        return self._regions

    def reset(self) -> None:
        self._regions = []
