"""The truth of the clips: joints triangulated from the keypoints of all cameras, weighted by their scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from posemoe_edge.runtime.arrays import F32, F64
from posemoe_edge.runtime.errors import ArtefactError
from posemoe_edge.runtime.pose.skeleton import COCO17

_ROUNDS = 10  # a camera that is far off loses its weight slowly where the others see the point under a small angle
_TOLERANCE_PX = 8.0  # cameras whose keypoint is further off than that count for less


def read_truth(path: Path) -> F64:
    """(T, 17, 3) COCO-17 in world metres, from the entry ``coco17_m`` of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as entries:
            truth = np.asarray(entries["coco17_m"], np.float64)
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error})", expected="an .npz file with coco17_m (T, 17, 3)") from None
    if truth.ndim != 3 or truth.shape[1:] != (len(COCO17), 3):
        raise ArtefactError(f"{path}: coco17_m has shape {truth.shape}", expected="(T, 17, 3)")
    return truth


def triangulate(matrices: Sequence[F64], keypoints: F32) -> F64:
    """World points of keypoints in several cameras, by weighted least squares; a camera that disagrees loses its weight.

    Args:
        matrices: (3, 4) of each camera, from world metres to homogeneous pixels.
        keypoints: (cameras, N, 3) x and y in pixels, score; a score of 0 is no observation.

    Returns:
        (N, 3) metres; not a number where fewer than two cameras see the point.
    """
    p = np.stack(matrices)  # (C, 3, 4)
    points = np.asarray(keypoints, np.float64)
    rows = points[..., :2, None] * p[:, None, 2:3] - p[:, None, :2]  # (C, N, 2, 4), 0 at the world point
    score, world = points[..., 2], np.full((points.shape[1], 3), np.nan)
    seen = (score > 0).sum(axis=0) >= 2
    weights = score.copy()
    for _ in range(_ROUNDS):
        depth = np.ones_like(score)
        if np.isfinite(world[seen]).all() and seen.any():  # rows are pixels times depth
            depth = np.einsum("cd,nd->cn", p[:, 2], np.concatenate([np.nan_to_num(world), np.ones((len(world), 1))], axis=1))
            depth = np.where(np.abs(depth) > 1e-6, depth, 1e-6)
        system = rows * (weights / depth)[..., None, None]
        stacked = system.transpose(1, 0, 2, 3).reshape(points.shape[1], -1, 4)
        a, b = stacked[..., :3], -stacked[..., 3]
        for i in np.flatnonzero(seen):
            world[i] = np.linalg.lstsq(a[i], b[i], rcond=None)[0]
        homogeneous = np.einsum("cij,nj->cni", p, np.concatenate([world, np.ones((len(world), 1))], axis=1))
        miss_px = np.linalg.norm(homogeneous[..., :2] / homogeneous[..., 2:] - points[..., :2], axis=-1)
        weights = score / (1 + (np.nan_to_num(miss_px) / _TOLERANCE_PX) ** 2)
    return world
