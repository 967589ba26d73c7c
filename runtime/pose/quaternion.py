"""Rotations as unit quaternions, in which ROS and Foxglove take them."""

from __future__ import annotations

import numpy as np

from ..arrays import F64


def quaternion_xyzw(rotation: F64) -> F64:
    """(4,) the unit quaternion x, y, z, w of a rotation (3, 3), from the largest of the four: a division by 0 cannot happen."""
    trace = rotation.trace()
    squares = np.array([*(1 + 2 * np.diag(rotation) - trace), 1 + trace])  # 4 times that of each number
    sums, differences = rotation + rotation.T, rotation - rotation.T
    rows = np.array(  # row i: the quaternion times 4 times its number i
        [
            [squares[0], sums[0, 1], sums[0, 2], differences[2, 1]],
            [sums[0, 1], squares[1], sums[1, 2], differences[0, 2]],
            [sums[0, 2], sums[1, 2], squares[2], differences[1, 0]],
            [differences[2, 1], differences[0, 2], differences[1, 0], squares[3]],
        ]
    )
    largest = rows[squares.argmax()]
    return np.asarray(largest / np.linalg.norm(largest), np.float64)
