"""Resampling of motion to another frame rate with a windowed sinc, which suppresses what the slower rate cannot represent."""

from __future__ import annotations

import numpy as np

from ...runtime.arrays import F64
from ...runtime.errors import UsageError

LOBES = 12  # zero crossings of the sinc to each side
PASS = 0.92  # cut-off relative to half the slower rate, so that the transition band ends near half the rate


def resample(values: F64, *, fps: float, to_fps: float) -> F64:
    """Values (T, ...) at ``fps`` as (U, ...) at ``to_fps``. Both start at the same frame; none is beyond the last.

    Before the first and after the last frame the motion continues as its point reflection, so that the ends are not distorted.

    Raises:
        UsageError: no frames, or a rate that is not positive.
    """
    if not (0 < fps < np.inf and 0 < to_fps < np.inf) or len(values) < 1:
        raise UsageError(f"{len(values)} frames from {fps:g} to {to_fps:g} per second", expected="frames and positive rates")
    if fps == to_fps or len(values) == 1:
        return values
    ratio = fps / to_fps
    position = np.arange(int(np.floor((len(values) - 1) / ratio + 1e-9)) + 1) * ratio  # (U,) in frames of the input
    cut = PASS * min(1.0, to_fps / fps)
    reach = int(np.ceil(LOBES / cut))
    padded = _extend(values, reach + 1)
    first = np.floor(position).astype(np.int64)
    weighted_sum = np.zeros((len(position), *values.shape[1:]))
    total = np.zeros(len(position))
    for tap in range(-reach, reach + 2):
        distance = first + tap - position
        window = np.where(np.abs(distance) < reach + 1, np.cos(np.pi / 2 * distance / (reach + 1)) ** 2, 0)
        weight = np.sinc(cut * distance) * window
        total += weight
        weighted_sum += weight.reshape(-1, *[1] * (values.ndim - 1)) * padded[first + tap + reach + 1]
    return weighted_sum / total.reshape(-1, *[1] * (values.ndim - 1))


def _extend(values: F64, reach: int) -> F64:
    """The values with ``reach`` more frames at both ends, reflected at the end points; a short clip is reflected repeatedly."""
    while reach > 0:
        count = min(reach, len(values) - 1)
        before, after = 2 * values[:1] - values[count:0:-1], 2 * values[-1:] - values[-2 : -count - 2 : -1]
        values, reach = np.concatenate([before, values, after]), reach - count
    return values
