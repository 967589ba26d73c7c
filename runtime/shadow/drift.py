"""Drift in millimetres over a run without an end, in memory that does not grow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..artefact.record import Record

Floats = NDArray[np.float64]

LEAST_MM, MOST_MM = 1e-6, 1e5  # below it nothing is to be told apart, above it nothing is a pose
PER_DECADE = 100
BINS = PER_DECADE * round(np.log10(MOST_MM / LEAST_MM))


class DriftPercentiles(Record):
    """Millimetres, over frames and joints."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: float


class DriftHistogram:
    """Counts on a logarithmic scale. Mean and maximum are exact; a percentile is the middle of its bin, 1.2 % off at most."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._sum_mm = self._max_mm = 0.0

    def add(self, drift_mm: Floats) -> None:
        """Count drifts of any shape; infinite ones too, but no nan."""
        place = np.log10(np.clip(drift_mm, LEAST_MM, MOST_MM) / LEAST_MM) * PER_DECADE
        self._counts += np.bincount(np.minimum(place.astype(np.int64), BINS - 1).ravel(), minlength=BINS)
        self._sum_mm += float(drift_mm.sum())
        self._max_mm = max(self._max_mm, float(drift_mm.max(initial=0.0)))

    def percentiles(self) -> DriftPercentiles | None:
        """What was counted so far; None if that is nothing."""
        upto = self._counts.cumsum()
        count = int(upto[-1])
        if not count:
            return None

        def at(percent: float) -> float:
            place = int(np.searchsorted(upto, percent / 100 * (count - 1), side="right"))
            middle = LEAST_MM * 10 ** ((place + 0.5) / PER_DECADE)
            return self._max_mm if place == BINS - 1 else min(float(middle), self._max_mm)

        return DriftPercentiles(mean=self._sum_mm / count, p50=at(50), p95=at(95), p99=at(99), max=self._max_mm)
