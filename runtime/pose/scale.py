"""How large a person is, as a factor of the lifter's figure: from a stature, and from a foot on the floor.

A lifter cannot see how large a person is. It gives everybody about the size of the bodies that it was trained on, a few percent
more or less in one posture and camera than in another, which says nothing of the person. Positions grow with the factor: a
person who is 5 % taller than the lifter thinks is 5 % farther away than it seems. So the factor goes by a stature H, which is
the person's or that of adults, and by the median over the person's frames of what the lifter makes of it:

    factor = H / median(l / 0.785),    (sigma / factor)^2 = (sigma_H / H)^2 + 0.04^2

with l the length from ankle over knee and hip to the thorax, which is 0.785 of a stature.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..arrays import F64
from ..errors import UsageError
from .skeleton import H36M17

ScaleFrom = Literal["prior", "stature", "floor", "stature+floor"]
"""What a person's scale rests on: adults in general, the stature that was given, the floor that they stand on, or both."""

ADULT_M, ADULTS_M = 1.68, 0.10  # stature of adults of both sexes, mean and spread (US, 2015 to 2018: men 1.753, women 1.613)
STATURE_SIGMA = 0.04  # of the proportions of bodies, and of what a lifter makes of them in one posture or another
PRIOR_SIGMA = float(np.hypot(ADULTS_M / ADULT_M, STATURE_SIGMA))
POSE_SIGMA = 0.015  # of a height in the pose
HEIGHT_SIGMA_M = 0.02  # of the camera above the floor
LEVEL_SIGMA_RAD = float(np.radians(1.0))  # of the direction of gravity

_ANKLE_M = 0.085  # height of a standing ankle
_LEG_AND_TRUNK = 0.785  # of a stature: ankle to hip to thorax
_REMEMBERED = 250  # frames over which the median is taken
_LIFTED_M = (1.0, 2.4)  # what a lifter makes of a stature; what is outside is no body
_LIKELY = (0.45, 1.35)  # scales of people, from small children on; what is outside is a foot that does not stand on the floor
_LEAST_BELOW_M = 0.3  # of the ankle below the camera: nearer to its height the floor says nothing

_LEGS = ((1, 2, 3), (4, 5, 6))
_ANKLES = [H36M17.joints.index(name) for name in ("right_ankle", "left_ankle")]


@dataclass(frozen=True)
class Floor:
    """What the camera knows of the floor.

    Args:
        gravity: (3,) unit, down, in camera axes.
        height_m: of the camera above the floor.
    """

    gravity: F64
    height_m: float


@dataclass(frozen=True)
class Scale:
    """A person's scale: the factor, its standard deviation (of a factor, not a share of it), and what it rests on."""

    factor: float
    sigma: float
    rests_on: ScaleFrom


@dataclass
class PersonScale:
    """One person's scale, which does not change, so that every frame adds to it.

    Args:
        stature_m: of the person, if it is known.
        floor: None without gravity or the camera's height.
    """

    stature_m: float | None = None
    floor: Floor | None = None
    _lifted_m: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _by_floor: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def observe(self, pose_m: F64, root_m: F64, score: F64) -> Scale:
        """Add a frame, and tell the scale.

        Args:
            pose_m: (17, 3) relative to the hip, camera axes, as the lifter gives it.
            root_m: (3,) the hip's position for a scale of 1.
            score: (17,) of the keypoints.
        """
        length_m = _leg_and_trunk_m(pose_m, score)
        if length_m is not None and _LIFTED_M[0] <= length_m / _LEG_AND_TRUNK <= _LIFTED_M[1]:
            self._lifted_m.append(length_m / _LEG_AND_TRUNK)
        if self.floor is not None and (score[_ANKLES] > 0).all():
            below_m = float(((pose_m[_ANKLES] + root_m) @ self.floor.gravity).max())  # the lower ankle, where it seems
            if below_m > _LEAST_BELOW_M:
                self._by_floor.append((self.floor.height_m - _ANKLE_M) / below_m)
        return self._fused(float(root_m[2]))

    def _fused(self, depth_m: float) -> Scale:
        known = self._by_stature()
        by_floor = float(np.median(self._by_floor)) if self._by_floor else 0.0
        if self.floor is None or not _LIKELY[0] <= by_floor <= _LIKELY[1]:
            return known
        height_m, sigma = self.floor.height_m, known.sigma
        share = (HEIGHT_SIGMA_M / height_m) ** 2 + POSE_SIGMA**2 + (depth_m * LEVEL_SIGMA_RAD / height_m) ** 2
        variance = by_floor**2 * share
        if known.rests_on == "prior":  # a child is no adult
            sigma = max(sigma, abs(by_floor - known.factor) / 2)
        precision = 1 / sigma**2 + 1 / variance
        fused = (known.factor / sigma**2 + by_floor / variance) / precision
        return Scale(fused, precision**-0.5, "stature+floor" if known.rests_on == "stature" else "floor")

    def _by_stature(self) -> Scale:
        """What is known without the floor. Until a leg and the trunk are seen together, the lifter's figure is an adult's."""
        if not self._lifted_m:
            return Scale(1.0, PRIOR_SIGMA, "prior")
        lifted_m = float(np.median(self._lifted_m))
        if self.stature_m is None:
            return Scale(ADULT_M / lifted_m, PRIOR_SIGMA * ADULT_M / lifted_m, "prior")
        return Scale(self.stature_m / lifted_m, STATURE_SIGMA * self.stature_m / lifted_m, "stature")


def check_stature(stature_m: float | None) -> float | None:
    """A stature in metres, or a ``UsageError`` where nobody has it."""
    if stature_m is not None and not 0.4 <= stature_m <= 2.6:
        raise UsageError(f"a stature of {stature_m:g}", expected="metres, 0.4 to 2.6")
    return stature_m


def _leg_and_trunk_m(pose_m: F64, score: F64) -> float | None:
    """From ankle over knee and hip to the thorax along the bones, mean of the legs that are seen; None without one."""
    legs_m = [
        float(np.linalg.norm(pose_m[knee] - pose_m[hip]) + np.linalg.norm(pose_m[ankle] - pose_m[knee]))
        for hip, knee, ankle in _LEGS
        if score[[hip, knee, ankle]].all()
    ]
    if not legs_m or not score[[0, 7, 8]].all():
        return None
    trunk_m = float(np.linalg.norm(pose_m[7] - pose_m[0]) + np.linalg.norm(pose_m[8] - pose_m[7]))
    return float(np.mean(legs_m)) + trunk_m
