"""Non-maximum suppression: several findings of one person become one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32, F64


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
