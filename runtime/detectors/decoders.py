"""From the outputs of a network that sees one person in a crop to keypoints in pixels of the crop."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..arrays import F32

Output = NDArray[np.floating]


def decode_simcc(x: Output, y: Output, *, width_px: int, height_px: int) -> F32:
    """Keypoints of SimCC, which classifies each coordinate by itself.

    Bins are numbered from the middle of the first pixel, as these networks are trained.

    Args:
        x: (N, J, B) a score for each of the bins of the crop's width.
        y: (N, J, B') the same for its height.
        width_px, height_px: of the crop.

    Returns:
        (N, J, 3) x, y, score: the lower of the two best scores.
    """
    bins = np.stack([x.argmax(axis=-1), y.argmax(axis=-1)], axis=-1)
    scale = np.array([width_px / x.shape[-1], height_px / y.shape[-1]])
    score = np.minimum(x.max(axis=-1), y.max(axis=-1))
    return _keypoints(bins * scale + 0.5, score)


def decode_heatmaps(heatmaps: Output, *, width_px: int, height_px: int) -> F32:
    """Keypoints of heatmaps: the middle of the best cell, moved a quarter of a cell towards its better neighbours.

    Args:
        heatmaps: (N, J, h, w) scores; a cell covers several pixels of the crop.
        width_px, height_px: of the crop.

    Returns:
        (N, J, 3) x, y, score.
    """
    height, width = heatmaps.shape[-2:]
    row, column = np.divmod(heatmaps.reshape(*heatmaps.shape[:2], -1).argmax(axis=-1), width)  # (N, J)
    padded = np.pad(heatmaps, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")  # no shift beyond an edge
    sample, joint = np.indices(row.shape)

    def at(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Output:
        values: Output = padded[sample, joint, rows + 1, columns + 1]
        return values

    right = np.sign(at(row, column + 1) - at(row, column - 1))
    down = np.sign(at(row + 1, column) - at(row - 1, column))
    cells = np.stack([column + 0.5 + right / 4, row + 0.5 + down / 4], axis=-1)
    return _keypoints(cells * (width_px / width, height_px / height), at(row, column))


def decode_keypoints(keypoints: Output, *, width_px: int, height_px: int, normalised: bool) -> F32:
    """Keypoints that a network gives as such.

    Args:
        keypoints: (N, J, 2) x, y, or (N, J, 3) x, y, score. Without a score every joint has 1.
        width_px, height_px: of the crop.
        normalised: whether x and y go from 0 to 1 across the crop; else they are pixels of it.

    Returns:
        (N, J, 3) x, y, score.
    """
    scale = (width_px, height_px) if normalised else (1, 1)
    score = keypoints[..., 2] if keypoints.shape[-1] == 3 else np.ones(keypoints.shape[:-1], np.float32)
    return _keypoints(keypoints[..., :2] * scale, score)


def _keypoints(xy: Output, score: Output) -> F32:
    """(N, J, 3) x, y, score in [0, 1]; a joint with a number that is not finite is (0, 0, 0)."""
    points = np.concatenate([xy, score[..., None]], axis=-1).astype(np.float32)
    points[~np.isfinite(points).all(axis=-1)] = 0
    points[..., 2] = points[..., 2].clip(0, 1)
    return points
