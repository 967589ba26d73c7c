"""Two detectors as the two stages of one: what the first finds is looked at by the second."""

from __future__ import annotations

from collections.abc import Sequence

from ..arrays import ImageBgr
from .base import Detection, Detector, RegionDetector
from .region import Region

_MARGIN = 1.25  # of the square around the box of a person


class TwoStageDetector:
    """A detector of people, and one that finds the joints of each.

    Args:
        finder: its search for people, or else the boxes of its detections, are the regions.
        detector: finds one person in each region.
    """

    def __init__(self, finder: Detector, detector: Detector) -> None:
        self._finder, self._detector = finder, detector
        self.skeleton = detector.skeleton

    def find(self, image_bgr: ImageBgr) -> list[Region]:
        """Where the finder sees people."""
        if isinstance(self._finder, RegionDetector):
            return self._finder.find(image_bgr)
        return [Region.around(person.box_px, margin=_MARGIN) for person in self._finder.detect(image_bgr)]

    def detect(self, image_bgr: ImageBgr, *, regions: Sequence[Region] | None = None) -> list[Detection]:
        """The people in the regions, or in those that the finder finds."""
        return self._detector.detect(image_bgr, regions=self.find(image_bgr) if regions is None else regions)
