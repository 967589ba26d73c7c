"""Non-maximum suppression: several findings of one person become one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64
from .base import Detection

_SEEN = 0.3
_BODY_NEARNESS, _HEAD_NEARNESS = 0.1, 0.05  # in extents of the larger body
_HEAD_AND_SHOULDERS = 7  # the first joints of COCO-17


def overlaps(box: NDArray[np.floating], boxes: NDArray[np.floating]) -> F64:
    """(N,) intersection over union of a box (4,) with boxes (N, 4), each left, top, right, bottom."""
    width, height = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).clip(0).T
    both = width * height
    area = np.prod(box[2:] - box[:2]).clip(0) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).clip(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(both / (area - both)), np.float64)


def weighted_suppression(boxes: F32, values: F32, scores: F32, *, overlap: float) -> list[tuple[F32, float]]:
    """The values of each person: the mean over all findings whose boxes overlap the best one, weighted by their scores.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        values: (N, V) what is averaged.
        scores: (N,) above 0.
        overlap: least intersection over union with the best box of the same person.

    Returns:
        The mean (V,) and the best score of each person, the best first.
    """
    people: list[tuple[F32, float]] = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        best = left[0]
        same = overlaps(boxes[best], boxes[left]) > overlap
        same[0] = True  # also a box without an area
        weights = scores[left[same], None]
        mean = (weights * values[left[same]]).sum(axis=0) / weights.sum()
        people.append((mean.astype(np.float32), float(scores[best])))
        left = left[~same]
    return people


def is_same_person(a: Detection, b: Detection) -> bool:
    """Whether two detections of COCO-17 are one person: their joints coincide, or their heads and shoulders do.

    Joints coincide if their mean distance is less than a tenth of the larger body's extent, heads and shoulders a twentieth.
    Only joints count that both have seen.
    """
    seen = (a.keypoints.score > _SEEN) & (b.keypoints.score > _SEEN)
    distances_px = np.hypot(*(a.keypoints.xy - b.keypoints.xy).T)
    extent_px = max(max(right - left, bottom - top) for left, top, right, bottom in (a.box_px, b.box_px))
    for joints, nearness in ((slice(None), _BODY_NEARNESS), (slice(_HEAD_AND_SHOULDERS), _HEAD_NEARNESS)):
        if seen[joints].any() and distances_px[joints][seen[joints]].mean() < nearness * extent_px:
            return True
    return False
