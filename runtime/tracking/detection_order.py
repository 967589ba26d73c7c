"""A tracker that does not track: people are numbered in the detector's order."""

from __future__ import annotations

from collections.abc import Sequence

from ..detectors.base import Detection


class DetectionOrderTracker:
    """The id of a person is the place in the detector's list, in every frame anew.

    This suits a detector that finds one person. With several people the ids are swapped whenever the detector's order changes.
    """

    def update(self, detections: Sequence[Detection], *, t_s: float) -> dict[int, Detection]:
        return dict(enumerate(detections))

    def reset(self) -> None:
        """Does nothing: no frame depends on another one."""
