"""``oks``: people keep their ids by motion and pose (object keypoint similarity), matched all at once (Hungarian method)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import F64
from ..detectors.base import Detection
from ..detectors.region import Region
from ..errors import missing_extra
from ..pose.skeleton import Skeleton
from .similarity import Fit, fit, joint_spreads
from .swaps import SwapFilter
from .track import Track, area_root_px

_LONGEST_DOUBT_S = 1.0  # uncertainty grows for no longer than that
_LONGEST_REGION_S = 0.5  # after that the detector's search finds who comes back


@dataclass(frozen=True)
class OksRules:
    """When a detection is a person, and which one.

    Args:
        certain: least score of a detection that may be somebody new, and that is matched first.
        possible: least score of a detection that may be somebody who is known already.
        hits: frames in which somebody new is seen before there is an id.
        doubtful_s: somebody without an id who is not seen for longer is forgotten.
        memory_s: somebody with an id who is not seen for longer is forgotten.
        most_cost: a detection that fits worse, as a negative logarithm of likelihood, is somebody else.
        same: two detections whose costs for each other are below this are of one person.
        swap_cost: what it costs besides if a detection fits better with left and right exchanged.
        undo_swaps: exchange left and right where the detector exchanges them.
    """

    certain: float = 0.4
    possible: float = 0.15
    hits: int = 3
    doubtful_s: float = 0.15
    memory_s: float = 2.0
    most_cost: float = 10.0
    same: float = 0.3
    swap_cost: float = 4.0
    undo_swaps: bool = True


class OksTracker:
    """Tracks people by their joints: constant velocity in seconds, Hungarian matching, first of certain detections.

    The ids are 0, 1 ... in the order in which people were confirmed, and are never given again. People in the first frame have
    an id at once; people who come later get one in their third frame, so that a false detection in a single frame gets none.
    People who are hidden for less than ``memory_s`` keep their id. Where a detector exchanges the left and right joints of a
    person, in a limb pair or altogether, the detections that come out have them exchanged back.

    Times may be uneven. If time jumps back or forward by more than ``memory_s``, everybody is forgotten, and the frame
    counts as a first one; in a frame that is only a little out of order nobody has moved.

    Raises:
        MissingError: scipy is not installed.
    """

    def __init__(self, rules: OksRules | None = None) -> None:
        try:
            from scipy.optimize import linear_sum_assignment
        except ImportError:
            raise missing_extra("scipy", "camera", "the tracker oks") from None
        self.rules = rules or OksRules()
        self._assign: Any = linear_sum_assignment
        self._tracks: list[Track] = []
        self._skeleton: Skeleton | None = None
        self._people = 0  # ids given
        self._last_s: float | None = None

    def update(self, detections: Sequence[Detection], *, t_s: float) -> dict[int, Detection]:
        """Person id -> detection of the frame at ``t_s`` seconds, for those who have an id."""
        t_s, first = self._check_time(t_s), self._last_s is None
        self._last_s = t_s
        self._check_skeleton(detections)
        points = [_finite_points(detection) for detection in detections]
        left = self._without_doubles(detections, points)
        matched: dict[int, Track] = {}  # index of a detection -> track
        for low, high in ((self.rules.certain, math.inf), (self.rules.possible, self.rules.certain)):
            stage = [i for i in left if i not in matched and low <= detections[i].score < high]
            free = [track for track in self._tracks if track not in matched.values()]
            matched |= self._match(free, detections, points, stage, t_s)
        self._forget(t_s)
        for i in left:
            if i not in matched and detections[i].score >= self.rules.certain:
                matched[i] = self._new_track(points[i], t_s=t_s, region=detections[i].region)
                self._tracks.append(matched[i])
        for track in matched.values():
            if track.person is None and (first or track.hits >= self.rules.hits):
                track.person, self._people = self._people, self._people + 1
        return {track.person: _ordered(detections[i], track) for i, track in matched.items() if track.person is not None}

    def regions(self, *, t_s: float) -> list[Region]:
        """Where the people who were seen lately are expected, whether they have an id or not."""
        t_s = self._check_time(t_s)
        lately = [track for track in self._tracks if track.unseen_s(t_s) <= _LONGEST_REGION_S]
        return [region for track in lately if (region := track.region(t_s)) is not None]

    def reset(self) -> None:
        """Forget everybody, and start again with id 0."""
        self._tracks, self._people, self._last_s = [], 0, None

    def _new_track(self, points: F64, *, t_s: float, region: Region | None) -> Track:
        assert self._skeleton is not None, "there are detections"
        swaps = SwapFilter(self._skeleton) if self.rules.undo_swaps else None
        return Track(points, t_s=t_s, region=region, swaps=swaps)

    def _check_time(self, t_s: float) -> float:
        """The time, or the last one if it is no time or a little earlier; after a jump everybody is forgotten."""
        if self._last_s is None:
            return t_s if math.isfinite(t_s) else 0.0
        if not math.isfinite(t_s):
            return self._last_s
        if abs(t_s - self._last_s) > self.rules.memory_s:
            self._tracks, self._last_s = [], None
            return t_s
        return max(t_s, self._last_s)

    def _check_skeleton(self, detections: Sequence[Detection]) -> None:
        """Another skeleton than before means another detector: nobody is known any more."""
        for detection in detections:
            if detection.keypoints.skeleton != self._skeleton:
                self._skeleton, self._tracks = detection.keypoints.skeleton, []

    def _fit(self, expected: F64, detected: F64, size_px: F64, unseen_s: F64) -> Fit:
        assert self._skeleton is not None, "there are detections"
        spreads = joint_spreads(self._skeleton)
        return fit(expected, detected, size_px=size_px, unseen_s=np.minimum(unseen_s, _LONGEST_DOUBT_S), spreads=spreads)

    def _without_doubles(self, detections: Sequence[Detection], points: Sequence[F64]) -> list[int]:
        """The indices of the detections, each person once: two regions may lead a detector to the same person."""
        order = sorted(range(len(detections)), key=lambda i: -detections[i].score)
        if len(order) < 2:
            return order
        stacked = np.stack(points)
        size_px = np.array([area_root_px(joints) for joints in points])
        cost = self._fit(stacked, stacked, size_px, np.zeros(len(points))).cost
        kept: list[int] = []
        for i in order:
            if all(cost[i, j] >= self.rules.same for j in kept):
                kept.append(i)
        return kept

    def _match(
        self, tracks: list[Track], detections: Sequence[Detection], points: Sequence[F64], stage: list[int], t_s: float
    ) -> dict[int, Track]:
        """Index of a detection -> track, for the pairs of least cost together; the tracks go on with them."""
        if not tracks or not stage or self._skeleton is None:
            return {}
        unseen_s = np.array([track.unseen_s(t_s) for track in tracks])
        expected, size_px = np.stack([track.expected(t_s) for track in tracks]), np.array([track.size_px for track in tracks])
        compared = self._fit(expected, np.stack([points[i] for i in stage]), size_px, unseen_s)
        if self.rules.undo_swaps:
            mirrored = np.stack([points[i][list(self._skeleton.mirrored)] for i in stage])
            compared = compared.better(self._fit(expected, mirrored, size_px, unseen_s), extra=self.rules.swap_cost)
        matched = {}
        for row, column in zip(*self._assign(np.minimum(compared.cost, self.rules.most_cost)), strict=True):
            if compared.cost[row, column] < self.rules.most_cost:
                i, log_scale = stage[column], float(compared.log_scale[row, column])
                tracks[row].add(points[i], t_s=t_s, log_scale=log_scale, region=detections[i].region)
                matched[i] = tracks[row]
        return matched

    def _forget(self, t_s: float) -> None:
        memory_s = {True: self.rules.memory_s, False: self.rules.doubtful_s}
        self._tracks = [track for track in self._tracks if track.unseen_s(t_s) <= memory_s[track.person is not None]]


def _finite_points(detection: Detection) -> F64:
    """(J, 3) x, y, score of a detection; a joint that is not finite counts as not seen, and the model refuses the frame."""
    points = np.asarray(detection.keypoints.points, np.float64).copy()
    points[~np.isfinite(points).all(axis=1)] = 0
    return points


def _ordered(detection: Detection, track: Track) -> Detection:
    """The detection that a track was given last, with what the detector exchanges exchanged back."""
    if track.order is None:
        return detection
    keypoints = detection.keypoints
    return replace(detection, keypoints=replace(keypoints, points=keypoints.points[track.order]))
