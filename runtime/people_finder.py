"""The people of a picture: a detector, and a tracker that gives them ids."""

from __future__ import annotations

from .detectors import DEFAULT_DETECTOR, Detection, Detector, RegionDetector, open_detector
from .errors import UsageError
from .pose.keypoints import Keypoints
from .sources.base import CameraFrame
from .stage_times import StageTimes
from .tracking import Tracker, open_tracker


class PeopleFinder:
    """Finds people in pictures, and knows them again.

    Args:
        detector: a detector, or its name; None is ``blazepose``, once there are pictures.
        tracker: a tracker, or its name.
        search_every: frames between two searches for further people, of a detector that works in two stages.
        times: measures the stages find, detect and track.
    """

    def __init__(
        self, detector: Detector | str | None, tracker: Tracker | str, *, search_every: int, times: StageTimes
    ) -> None:
        self.detector = open_detector(detector) if isinstance(detector, str) else detector
        self._tracker = tracker
        self._search_every, self._until_search = search_every, 0
        self._times = times

    @property
    def tracker(self) -> Tracker:
        """The tracker, opened at its first use: keypoints from elsewhere need none."""
        if isinstance(self._tracker, str):
            self._tracker = open_tracker(self._tracker)
        return self._tracker

    def open(self) -> None:
        """Open both: what is missing is an error before the first picture."""
        self.detector = self.detector or open_detector(DEFAULT_DETECTOR)
        self._tracker = self.tracker

    def reset(self) -> None:
        """Forget where people are: they are searched for in the next picture."""
        if not isinstance(self._tracker, str):
            self._tracker.reset()
        self._until_search = 0

    def find(self, frame: CameraFrame) -> dict[int, Keypoints]:
        """Person id -> keypoints in pixels."""
        if self.detector is None:
            raise UsageError("a picture from a source of keypoints", expected="a source whose pictures is True")
        detections = self._detections(self.detector, frame)
        with self._times.stage("track"):
            people = self.tracker.update(detections, t_s=frame.t_s)
        return {person: found.keypoints for person, found in people.items()}

    def _detections(self, detector: Detector, frame: CameraFrame) -> list[Detection]:
        """The people of a frame: a detector of two stages looks where they are expected, and searches now and then."""
        if not isinstance(detector, RegionDetector):
            with self._times.stage("detect"):
                return detector.detect(frame.image_bgr)
        regions = list(self.tracker.regions(t_s=frame.t_s))
        if self._until_search == 0 or not regions:
            expected = tuple(regions)
            with self._times.stage("find"):
                found = detector.find(frame.image_bgr)
            regions += [new for new in found if not any(map(new.is_near, expected))]
            self._until_search = self._search_every
        self._until_search -= 1
        with self._times.stage("detect"):
            return detector.detect(frame.image_bgr, regions=regions)
