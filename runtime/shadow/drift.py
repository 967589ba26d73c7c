"""DriftHistogram: drift in millimetres over a run of any length, in memory of constant size."""

from __future__ import annotations

import numpy as np

from ..arrays import F64
from ..artefact.record import Record

LEAST_MM, MOST_MM = 1e-6, 1e5  # drift below LEAST_MM cannot be measured, a pose that drifts above MOST_MM is none
PER_DECADE = 100
BINS = PER_DECADE * round(np.log10(MOST_MM / LEAST_MM))


class DriftPercentiles(Record):
    """Drift in millimetres, over frames and joints."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: float


class DriftHistogram:
    """Counts drifts on a logarithmic scale.

    Mean and maximum are exact. A percentile is the middle of its bin, at most 1.2 % off.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._sum_mm = self._max_mm = 0.0

    def add(self, drift_mm: F64) -> None:
        """Count drifts, an array of any shape; infinity is allowed, nan is not."""
        place = np.log10(np.clip(drift_mm, LEAST_MM, MOST_MM) / LEAST_MM) * PER_DECADE
        self._counts += np.bincount(np.minimum(place.astype(np.int64), BINS - 1).ravel(), minlength=BINS)
        self._sum_mm += float(drift_mm.sum())
        self._max_mm = max(self._max_mm, float(drift_mm.max(initial=0.0)))

    def percentiles(self) -> DriftPercentiles | None:
        """The statistics of all drifts so far; None if there are none."""
        cumulative = self._counts.cumsum()
        count = int(cumulative[-1])
        if not count:
            return None

        def at(percent: float) -> float:
            place = int(np.searchsorted(cumulative, percent / 100 * (count - 1), side="right"))
            middle = LEAST_MM * 10 ** ((place + 0.5) / PER_DECADE)
            return self._max_mm if place == BINS - 1 else min(float(middle), self._max_mm)

        return DriftPercentiles(mean=self._sum_mm / count, p50=at(50), p95=at(95), p99=at(99), max=self._max_mm)
