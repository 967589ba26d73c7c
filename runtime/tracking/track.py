"""One tracked person: where the joints were last, and how the person moves."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64
from ..detectors.region import Region
from .swaps import SwapFilter

_VELOCITY_S = 0.15  # time constant of the velocity
_GROWTH_S = 0.5  # time constant of the change in size
_MOST_GROWTH = 0.4  # per second: someone who walks towards the camera from 3 m
_LONGEST_COAST_S = 0.5  # nobody is expected to walk on for longer
_SLOWEST_FPS_GROWTH_S = 0.35  # over longer times a size says little about its change
_FADING = 0.9  # of a joint's score, for each frame in which it is hidden
_SHRINKING = 0.95  # of the area, for each frame in which less of the person is seen
_SHORTEST_S = 1e-3
_LEAST = 1e-9


class Track:
    """A person who was detected at least once. Joints move with the person while nobody sees them.

    Args:
        points_px: (J, 3) x, y, score, finite.
        t_s: when.
        region: where to look next, of the detection.
        swaps: finds what the detector exchanges of this person; None takes detections as they are.
    """

    def __init__(self, points_px: F64, *, t_s: float, region: Region | None = None, swaps: SwapFilter | None = None) -> None:
        self.person: int | None = None
        self.hits = 1
        self.seen_s = t_s
        self._points = points_px.copy()
        self._velocity_px_s = np.zeros(2)
        self._growth = 0.0  # of the logarithm of the size, per second
        self._region = region
        self.size_px = area_root_px(points_px)
        self._swaps = swaps
        self.order: NDArray[np.intp] | None = None  # (J,) that undoes what the last detection exchanges; None if nothing
        if swaps is not None:
            self.order = swaps.update(points_px, size_px=self.size_px, elapsed_s=0.0)

    def unseen_s(self, t_s: float) -> float:
        """Seconds since the person was seen; 0 for a time before that."""
        return max(0.0, t_s - self.seen_s)

    def expected(self, t_s: float) -> F64:
        """(J, 3) x, y, score where the joints are expected at that time."""
        coast_s = min(self.unseen_s(t_s), _LONGEST_COAST_S)
        points = self._points.copy()
        middle = _middle(points)
        points[:, :2] = middle + (points[:, :2] - middle) * math.exp(self._growth * coast_s) + self._velocity_px_s * coast_s
        return points

    def region(self, t_s: float) -> Region | None:
        """Where to look for the person at that time, if the detector said where it would look."""
        if self._region is None:
            return None
        x_px, y_px = self._velocity_px_s * min(self.unseen_s(t_s), _LONGEST_COAST_S)
        return self._region.moved(float(x_px), float(y_px))

    def add(self, points_px: F64, *, t_s: float, log_scale: float, region: Region | None) -> None:
        """The person was detected again.

        Args:
            points_px: (J, 3) x, y, score, finite.
            log_scale: logarithm of the size by the expected one.
        """
        expected = self.expected(t_s)
        elapsed_s = self.unseen_s(t_s)
        if self._swaps is not None:
            self.order = self._swaps.update(points_px, size_px=self.size_px, elapsed_s=elapsed_s)
            points_px = points_px if self.order is None else points_px[self.order]
        both = np.minimum(points_px[:, 2], self._points[:, 2])
        sure = both >= max(both.max() / 2, _LEAST)
        if elapsed_s >= _SHORTEST_S and sure.any():
            moved_px = np.median(points_px[sure, :2] - self._points[sure, :2], axis=0)
            self._velocity_px_s += (1 - math.exp(-elapsed_s / _VELOCITY_S)) * (moved_px / elapsed_s - self._velocity_px_s)
            if elapsed_s <= _SLOWEST_FPS_GROWTH_S:
                growth = self._growth + (1 - math.exp(-elapsed_s / _GROWTH_S)) ** 2 * log_scale / elapsed_s
                self._growth = float(np.clip(growth, -_MOST_GROWTH, _MOST_GROWTH))
        # A joint that is less certain than it was takes only a part of the step, so that hidden joints do not wander.
        old, new = _FADING * expected[:, 2], points_px[:, 2]
        gain = np.where(new >= old, 1.0, (new / np.maximum(old, _LEAST)) ** 2)[:, None]
        self._points[:, :2] = expected[:, :2] + gain * (points_px[:, :2] - expected[:, :2])
        self._points[:, 2] = np.maximum(old, new)
        self.size_px = max(_SHRINKING * self.size_px, area_root_px(points_px))
        self.seen_s = max(self.seen_s, t_s)
        self.hits += 1
        self._region = region


def _middle(points_px: F64) -> F64:
    """(2,) mean of the joints of (J, 3), weighted by their scores."""
    weight = points_px[:, 2]
    return np.asarray(weight @ points_px[:, :2] / max(float(weight.sum()), _LEAST))


def area_root_px(points_px: F64) -> float:
    """Square root of the area that the certain joints of (J, 3) cover, at least what a narrow person of that length has."""
    sure = points_px[:, 2] >= points_px[:, 2].max() / 2
    width, height = np.ptp(points_px[sure, :2], axis=0)
    return float(max(math.sqrt(width * height), 0.35 * max(width, height), 1.0))
