"""Smoothing of keypoints and of poses: a One-Euro filter for all joints at once, by elapsed time.

A One-Euro filter is a low-pass filter whose cutoff grows with speed: a joint at rest does not tremble, and a fast one does not
lag (Casiez, Roussel and Vogel, CHI 2012). Here the speed is that of the joint in the plane or in space, not of each coordinate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64

Smooth = Literal["off", "light", "strong"]

_SPEED_HZ = 1.0  # cutoff of the speed


@dataclass(frozen=True)
class Cutoff:
    """The cutoff frequency is ``rest_hz + per_speed * speed``.

    Args:
        rest_hz: of a joint at rest.
        per_speed: Hz for each metre per second of a pose, or for each height of the person per second of keypoints.
    """

    rest_hz: float
    per_speed: float


@dataclass(frozen=True)
class SmoothingLevel:
    """The cutoffs of keypoints and of poses."""

    keypoints: Cutoff
    pose: Cutoff


SMOOTHING: dict[Smooth, SmoothingLevel | None] = {
    "off": None,
    "light": SmoothingLevel(keypoints=Cutoff(4.0, 20.0), pose=Cutoff(2.0, 10.0)),
    "strong": SmoothingLevel(keypoints=Cutoff(2.0, 20.0), pose=Cutoff(1.0, 4.0)),
}
"""Chosen by ``benchmarks/smoothing.py`` on validation motion with a detector's noise."""


class OneEuro:
    """The filter of one person's joints. A joint that is not seen is not filtered, and starts anew when it is seen again.

    Args:
        cutoff: of the joints.
        reset_after_s: after so long without a frame everything starts anew: that of the gap policy.
    """

    def __init__(self, cutoff: Cutoff, *, reset_after_s: float) -> None:
        self.cutoff, self.reset_after_s = cutoff, reset_after_s
        self.reset()

    def reset(self) -> None:
        """The next frame is a first one."""
        self._t_s: float | None = None
        self._smoothed: F64 = np.zeros((0, 0))  # (J, C)
        self._velocity: F64 = np.zeros((0, 0))  # (J, C) per second
        self._known: NDArray[np.bool_] = np.zeros(0, np.bool_)  # (J,)

    def step(
        self, values: NDArray[np.floating], *, t_s: float, seen: NDArray[np.bool_] | None = None, unit: float = 1.0
    ) -> F64:
        """Filter one frame.

        Args:
            values: (J, C) coordinates.
            t_s: capture time. A frame that is not later than the last one is returned as it is, and changes nothing.
            seen: (J,) which joints count, None for all; the others are returned as they are.
            unit: what the cutoff's speed is measured in: 1 for metres, the person's height for pixels.

        Returns:
            (J, C) a new array.
        """
        x = np.array(values, np.float64)
        usable: NDArray[np.bool_] = np.asarray(np.isfinite(x).all(axis=1), np.bool_)
        if seen is not None:
            usable = usable & seen
        if not math.isfinite(t_s):
            return x
        if self._t_s is not None and t_s <= self._t_s:
            if self._t_s - t_s < self.reset_after_s:
                return x
            self.reset()  # the source began again
        if self._t_s is None or t_s - self._t_s >= self.reset_after_s:
            self._smoothed, self._velocity, self._known = np.where(usable[:, None], x, 0), np.zeros_like(x), usable
            self._t_s = t_s
            return x
        dt_s = t_s - self._t_s
        known = (usable & self._known)[:, None]
        step = np.where(known, x - self._smoothed, 0.0)
        velocity = self._velocity + _gain(_SPEED_HZ, dt_s) * (step / dt_s - self._velocity)
        speed = np.linalg.norm(velocity, axis=1, keepdims=True) / unit
        smoothed = self._smoothed + _gain(self.cutoff.rest_hz + self.cutoff.per_speed * speed, dt_s) * step
        self._velocity = np.where(known, velocity, 0.0)
        self._smoothed = np.where(known, smoothed, np.where(usable[:, None], x, 0))
        self._known, self._t_s = usable, t_s
        return np.where(known, smoothed, x)


def _gain(cutoff_hz: F64 | float, dt_s: float) -> F64:
    """The share of a step that a low-pass filter takes in ``dt_s``."""
    return np.asarray(1 - np.exp(-2 * math.pi * np.asarray(cutoff_hz) * dt_s))


class Smoother:
    """One person's filters, of keypoints before the model and of poses after it. Nothing goes back into the model's state.

    Args:
        level: the cutoffs.
        reset_after_s: that of the gap policy.
    """

    def __init__(self, level: SmoothingLevel, *, reset_after_s: float) -> None:
        self._keypoints = OneEuro(level.keypoints, reset_after_s=reset_after_s)
        self._pose = OneEuro(level.pose, reset_after_s=reset_after_s)

    def keypoints(self, points: NDArray[np.floating], *, t_s: float) -> NDArray[np.floating]:
        """(J, 3) x, y, score in any unit, with x and y smoothed; joints of score 0 hold nothing."""
        seen = points[:, 2] > 0
        smoothed = points.copy()
        smoothed[:, :2] = self._keypoints.step(points[:, :2], t_s=t_s, seen=seen, unit=_height(points[:, :2], seen))
        return smoothed

    def pose(self, xyz_m: NDArray[np.floating], *, t_s: float, reset: bool) -> NDArray[np.float32]:
        """(J, 3) metres, smoothed; ``reset`` if the model's state was."""
        if reset:
            self._pose.reset()
        return self._pose.step(xyz_m, t_s=t_s).astype(np.float32)


def _height(xy: NDArray[np.floating], seen: NDArray[np.bool_]) -> float:
    """The longer side of the box around the joints that are seen, as a measure of speed."""
    usable = xy[seen & np.isfinite(xy).all(axis=1)]
    extent = float(np.ptp(usable, axis=0).max()) if len(usable) else 0.0
    return extent if extent > 0 else 1.0
