"""People's keypoints over the picture that they were found in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64, ImageBgr
from ..pose.keypoints import Keypoints, to_pixels
from ..pose.skeleton import COCO17, Skeleton
from ..pose.types import GUESSED_BELOW
from .brush import EDGE, GUESSED, LEFT, RIGHT, TORSO, Brush, Colour

_COCO_LINES = (
    "left_shoulder right_shoulder", "left_hip right_hip", "left_shoulder left_hip", "right_shoulder right_hip",
    "left_shoulder left_elbow", "left_elbow left_wrist", "right_shoulder right_elbow", "right_elbow right_wrist",
    "left_hip left_knee", "left_knee left_ankle", "right_hip right_knee", "right_knee right_ankle",
    "nose left_eye", "nose right_eye", "left_eye left_ear", "right_eye right_ear",
)  # fmt: skip


def lines_of(skeleton: Skeleton) -> list[tuple[int, int]]:
    """Which joints are joined by a line: a skeleton's bones, but for COCO's, which has no spine, the outline of the trunk."""
    if skeleton != COCO17:
        return list(skeleton.bones)
    names = [line.split() for line in _COCO_LINES]
    return [(skeleton.joints.index(a), skeleton.joints.index(b)) for a, b in names]


def colour_of(skeleton: Skeleton, *joints: int) -> Colour:
    """The colour of a joint, or of the line between two: of the left or the right side, where both are on it."""
    if all(joint in skeleton.left for joint in joints):
        return LEFT
    if all(joint in skeleton.right for joint in joints):
        return RIGHT
    return TORSO


def draw_keypoints(
    brush: Brush, image: ImageBgr, people: Mapping[int, Keypoints], *, scale: float, offset: tuple[float, float] = (0.0, 0.0)
) -> None:
    """Draw everybody's skeleton and id.

    Args:
        image: (H, W, 3), drawn on.
        people: person id -> keypoints.
        scale, offset: from pixels of the keypoints to pixels of ``image``; normalised keypoints fill the picture's width.
    """
    for person in sorted(people):
        keypoints = people[person]
        points = _pixels(keypoints, image, scale, offset)  # (J, 3)
        seen = np.isfinite(points).all(axis=1) & (points[:, 2] > 0)
        if seen.any():
            _draw_person(brush, image, person, points, seen, keypoints.skeleton)


def _draw_person(brush: Brush, image: ImageBgr, person: int, points: F64, seen: NDArray[np.bool_], skeleton: Skeleton) -> None:
    xy = points[:, :2]
    guessed = points[:, 2] < GUESSED_BELOW
    height = float(np.ptp(xy[seen, 1]))
    width = int(np.clip(round(height / 110), 2, 6))
    lines = [(a, b) for a, b in lines_of(skeleton) if seen[a] and seen[b]]
    for a, b in lines:  # a dark edge keeps the line readable on any picture
        brush.line(image, xy[a], xy[b], EDGE, width + 3)
    for a, b in lines:
        colour = GUESSED if guessed[a] or guessed[b] else colour_of(skeleton, a, b)
        brush.line(image, xy[a], xy[b], colour, width)
    for joint in np.flatnonzero(seen).tolist():
        brush.dot(image, xy[joint], EDGE, width + 1.5)
        brush.dot(image, xy[joint], GUESSED if guessed[joint] else colour_of(skeleton, joint), width)
    top = xy[seen][np.argmin(xy[seen, 1])]
    brush.tag(image, str(person), (top[0], top[1] - max(14.0, 0.09 * height)))


def _pixels(keypoints: Keypoints, image: ImageBgr, scale: float, offset: tuple[float, float]) -> F64:
    """(J, 3) x and y in pixels of ``image``, score."""
    if keypoints.size is None:
        height, width = image.shape[:2]
        return to_pixels(keypoints.points, width_px=width, height_px=height).astype(np.float64)
    points = keypoints.points.astype(np.float64)
    points[:, :2] = points[:, :2] * scale + offset
    return points
