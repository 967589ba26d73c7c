"""The slope of a drift: does an error build up in the state, and how sure is that?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.artefact.certificate import SlopeInterval

Floats = NDArray[np.float64]

# Neighbouring frames drift alike, and frames of one clip more than those of two: a line's usual interval, which takes each for
# an observation of its own, is far too narrow. Means of blocks that are longer than the likeness lasts are nearly independent.
BLOCK_FRAMES, FEWEST_BLOCKS, MOST_BLOCKS = 200, 5, 40


def slope(by_frame: Floats) -> tuple[float, SlopeInterval | None]:
    """Growth per 1,000 frames of (T,) mean drifts, by the least-squares line through the means of blocks of 200 frames or more.

    With fewer than 1,000 frames the line goes through the frames, and there is no interval.
    """
    if len(by_frame) < 2:
        return 0.0, None
    blocks = min(MOST_BLOCKS, len(by_frame) // BLOCK_FRAMES)
    told = blocks >= FEWEST_BLOCKS
    parts = np.array_split(np.arange(len(by_frame)), blocks if told else len(by_frame))
    x = np.array([part.mean() for part in parts]) / 1000
    y = np.array([by_frame[part].mean() for part in parts])
    away = x - x.mean()
    per_1000 = float(away @ y / (away @ away))
    if not told:
        return per_1000, None
    left = y - y.mean() - per_1000 * away
    half = students_t(blocks - 2) * float(np.sqrt(left @ left / (blocks - 2) / (away @ away)))
    low, high = per_1000 - half, per_1000 + half
    return per_1000, SlopeInterval(low=low, high=high, distinct=low > 0 or high < 0)


def students_t(freedom: int) -> float:
    """97.5 % of Student's t, 95 % to both sides: its expansion in 1 / freedom (Abramowitz and Stegun 26.7.5), from 3 on."""
    z = 1.959964
    return float(
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
