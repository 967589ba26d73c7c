"""Motion at another frame rate: a windowed sinc that lets nothing through which the slower rate cannot hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import UsageError

LOBES = 12  # zero crossings of the sinc to each side
PASS = 0.92  # cut-off as a share of half the slower rate: the filter's slope ends about there


def resample(values: NDArray[np.float64], *, fps: float, to_fps: float) -> NDArray[np.float64]:
    """Values (T, ...) at ``fps`` as (U, ...) at ``to_fps``: the first frame stays the first, the last is not overrun.

    Before the first and after the last frame the motion is continued by its point reflection, so that neither end bends.
    """
    if not (0 < fps < np.inf and 0 < to_fps < np.inf) or len(values) < 1:
        raise UsageError(f"{len(values)} frames from {fps:g} to {to_fps:g} per second", expected="frames and positive rates")
    if fps == to_fps or len(values) == 1:
        return values
    ratio = fps / to_fps
    at = np.arange(int(np.floor((len(values) - 1) / ratio + 1e-9)) + 1) * ratio  # (U,) in frames of the input
    cut = PASS * min(1.0, to_fps / fps)
    reach = int(np.ceil(LOBES / cut))
    padded = _continued(values, reach + 1)
    first = np.floor(at).astype(np.int64)
    made = np.zeros((len(at), *values.shape[1:]))
    total = np.zeros(len(at))
    for tap in range(-reach, reach + 2):
        away = first + tap - at
        window = np.where(np.abs(away) < reach + 1, np.cos(np.pi / 2 * away / (reach + 1)) ** 2, 0)
        weight = np.sinc(cut * away) * window
        total += weight
        made += weight.reshape(-1, *[1] * (values.ndim - 1)) * padded[first + tap + reach + 1]
    return made / total.reshape(-1, *[1] * (values.ndim - 1))


def _continued(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """The values with ``reach`` more frames at both ends, reflected in the end points; a short clip is reflected again."""
    while reach > 0:
        more = min(reach, len(values) - 1)
        before, after = 2 * values[:1] - values[more:0:-1], 2 * values[-1:] - values[-2 : -more - 2 : -1]
        values, reach = np.concatenate([before, values, after]), reach - more
    return values
