"""The view in front of a lifter that has none: a virtual camera that looks at the person, level, with a canonical lens.

Lifters of view ``image`` were trained on the pictures of one kind of camera, Human3.6M's: of its focal length, held level, with
people near the middle, 2.5 to 6 m away. Here the keypoints are what such a camera at the same place would have seen, with a
zoom for people who are nearer or farther than that, and the pose is turned back into the axes of the real camera. Lifters of
view ``person`` do the like inside their graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64

CANONICAL_FOCAL = 2.294
"""Focal length of Human3.6M's cameras, 1147 px, in pictures that are 2 wide instead of 1000 px."""

SIZES = (0.2, 0.5)
"""How large people are whom such cameras see at 6 and at 2.5 m: the root mean square of the joints' distance from the middle.
Lifters give smaller bodies to people who are smaller still, in place of farther ones."""

_LEAST_DEPTH = 0.1  # of a unit ray along the view's axis: rays farther to the side are not projected farther out
_LEVEL = 0.17  # sine of 10 degrees: a camera that looks more steeply at the person has no level


def look_at(rays: NDArray[Any], *, gravity: F64 | None = None) -> tuple[F32, F64]:
    """What a level camera that looks at each person sees of them.

    Args:
        rays: (..., J, 3) x and y on the picture plane at depth 1, and the score. Joints of score 0, or not finite, do not say
            where the person is.
        gravity: (3,) unit, down, in camera axes. Without it the roll of the real camera stays.

    Returns:
        Keypoints (..., J, 3) float32 normalised x, y, score, a joint of score 0 as (0, 0, 0); and view_from_camera
        (..., 3, 3), whose rows are the view's right, down and forward in camera axes: ``pose @ view_from_camera`` turns a
        pose (..., J, 3) back.
    """
    score = np.asarray(rays[..., 2:], np.float64)  # (..., J, 1)
    directions = np.concatenate([np.asarray(rays[..., :2], np.float64), np.ones_like(score)], axis=-1)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    seen = (score > 0) & np.isfinite(directions).all(axis=-1, keepdims=True)
    total = np.where(seen, directions, 0).sum(axis=-2)  # (..., 3)
    ahead = np.array([0.0, 0.0, 1.0])
    forward = np.where(seen.any(axis=-2), total, ahead)
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    view_from_camera = _axes(forward, gravity)
    turned = directions @ np.swapaxes(view_from_camera, -1, -2)
    plane = turned[..., :2] / np.maximum(turned[..., 2:], _LEAST_DEPTH) * CANONICAL_FOCAL  # (..., J, 2)
    points = np.concatenate([plane * _zoom(plane, seen), score], axis=-1)
    return np.where(score == 0, 0, points).astype(np.float32), view_from_camera


def _zoom(plane: F64, seen: NDArray[np.bool_]) -> F64:
    """(..., 1, 1) what brings people (..., J, 2) into the sizes that lifters know."""
    count = np.maximum(seen.sum(axis=-2, keepdims=True), 1)
    square = np.where(seen, plane**2, 0).sum(axis=(-2, -1), keepdims=True) / count
    size = np.sqrt(np.maximum(square, 1e-12))
    return np.asarray(np.clip(size, *SIZES) / size)


def _axes(forward: F64, gravity: F64 | None) -> F64:
    """(..., 3, 3) right, down and forward of the view along unit vectors (..., 3)."""
    shortest = _shortest_turn(forward)
    if gravity is None:
        return shortest
    across = gravity - (forward @ gravity)[..., None] * forward
    length = np.linalg.norm(across, axis=-1, keepdims=True)
    down = across / np.maximum(length, _LEVEL)
    level = np.stack([np.cross(down, forward), down, forward], axis=-2)
    return np.where((length > _LEVEL)[..., None], level, shortest)


def _shortest_turn(forward: F64) -> F64:
    """(..., 3, 3) the axes of the real camera, turned until z is forward, and no more than that; z of forward is above -1."""
    x, y, z = forward[..., 0], forward[..., 1], forward[..., 2]
    bend = 1 / (1 + z)
    right = np.stack([1 - x * x * bend, -x * y * bend, -x], axis=-1)
    down = np.stack([-x * y * bend, 1 - y * y * bend, -y], axis=-1)
    return np.stack([right, down, forward], axis=-2)
