"""The slope of a drift: whether an error builds up in the state, and how certain that is."""

from __future__ import annotations

import numpy as np

from ...runtime.arrays import F64
from ...runtime.artefact.certificate import SlopeInterval

# Drifts of neighbouring frames are correlated, and those of one clip more than those of two. A line's usual interval takes
# each frame for an independent observation and is far too narrow. Means of blocks that are longer than the correlation are
# nearly independent.
BLOCK_FRAMES, MIN_BLOCKS, MAX_BLOCKS = 200, 5, 40


def fit_slope(drift_by_frame: F64) -> tuple[float, SlopeInterval | None]:
    """Growth per 1,000 frames of (T,) mean drifts: the least-squares line through the means of blocks of 200 frames or more.

    Below 1,000 frames the line goes through the single frames, and there is no interval.
    """
    if len(drift_by_frame) < 2:
        return 0.0, None
    blocks = min(MAX_BLOCKS, len(drift_by_frame) // BLOCK_FRAMES)
    has_interval = blocks >= MIN_BLOCKS
    parts = np.array_split(np.arange(len(drift_by_frame)), blocks if has_interval else len(drift_by_frame))
    x = np.array([part.mean() for part in parts]) / 1000
    y = np.array([drift_by_frame[part].mean() for part in parts])
    centred_x = x - x.mean()
    per_1000 = float(centred_x @ y / (centred_x @ centred_x))
    if not has_interval:
        return per_1000, None
    residuals = y - y.mean() - per_1000 * centred_x
    half_width = students_t(blocks - 2) * float(np.sqrt(residuals @ residuals / (blocks - 2) / (centred_x @ centred_x)))
    low, high = per_1000 - half_width, per_1000 + half_width
    return per_1000, SlopeInterval(low=low, high=high, distinct=low > 0 or high < 0)


def students_t(freedom: int) -> float:
    """The 97.5 % quantile of Student's t (95 % two-sided), from 3 degrees of freedom on.

    Its expansion in 1 / freedom: Abramowitz and Stegun 26.7.5.
    """
    z = 1.959964
    return float(
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
