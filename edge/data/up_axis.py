"""The vertical axis of a motion: which one it is, and turning it to z."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from ...runtime.arrays import F64

UpAxis = Literal["x", "y", "z", "-x", "-y", "-z"]
UP_AXES: tuple[UpAxis, ...] = get_args(UpAxis)
_HIP, _ANKLES, _HEAD = 0, [3, 6], 10
_STRAIGHT = 0.7  # least share of an axis in the direction of a standing figure; the cosine of 45 degrees
# Axis -> the right-handed rotation that brings it to z, as rows.
_TO_Z: dict[UpAxis, tuple[tuple[int, int, int], ...]] = {
    "x": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "y": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-x": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
    "-y": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
}


def find_up(rest: F64, joints: F64) -> UpAxis:
    """The axis that points up.

    It is the one along which the head of the rest pose is above its hips, and these above its ankles: the motion may lie on the
    floor or stand on its hands all the time. A rest pose that does not stand, as where all bones point one way, says nothing;
    then it is the axis along which the head is above the hips in the motion.

    Args:
        rest: (17, 3) the rest pose.
        joints: (T, 17, 3) the motion, in the same axes.
    """
    trunk, legs = rest[_HEAD] - rest[_HIP], rest[_HIP] - rest[_ANKLES].mean(axis=0)
    lengths = np.linalg.norm(trunk), np.linalg.norm(legs)
    if min(lengths) > 0:
        up = trunk / lengths[0] + legs / lengths[1]
        axis = int(np.abs(up).argmax())
        along = up[axis] / 2, trunk[axis] / lengths[0] * np.sign(up[axis]), legs[axis] / lengths[1] * np.sign(up[axis])
        if abs(along[0]) > _STRAIGHT and min(along[1:]) > _STRAIGHT:
            return _named(up)
    return _named((joints[:, _HEAD] - joints[:, _HIP]).mean(axis=0))


def turn_up(joints: F64, up: UpAxis) -> F64:
    """Joints (T, 17, 3) turned so that the axis ``up`` becomes z."""
    turned: F64 = joints @ np.array(_TO_Z[up], np.float64).T
    return turned


def _named(direction: F64) -> UpAxis:
    axis = int(np.abs(direction).argmax())
    positive: tuple[UpAxis, ...] = ("x", "y", "z")
    negative: tuple[UpAxis, ...] = ("-x", "-y", "-z")
    return (positive if direction[axis] >= 0 else negative)[axis]
