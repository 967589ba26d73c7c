"""Anchors of single-shot detection networks: the places of a picture from which each finding is counted."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..arrays import F32


def anchors(size_px: int, layers: Iterable[tuple[int, int]]) -> F32:
    """The anchors' positions, in the order of the network's outputs: layer, row, column, anchors of one place.

    Args:
        size_px: side of the network's picture.
        layers: pixels between two places, and the number of anchors at each place.

    Returns:
        (N, 2) x and y in pixels.
    """
    grids = []
    for stride, repeats in layers:
        cells = size_px // stride
        row, column = np.indices((cells, cells)).reshape(2, -1)
        places = (np.stack([column, row], axis=1) + 0.5) * stride
        grids.append(np.repeat(places, repeats, axis=0))
    return np.concatenate(grids).astype(np.float32)
