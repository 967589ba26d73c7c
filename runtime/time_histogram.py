"""Durations of an endless run in bounded memory."""

from __future__ import annotations

import math

import numpy as np

_LEAST_S, _MOST_S = 1e-7, 1e4
_STEP = 1.01  # from one bin to the next
_BINS = math.ceil(math.log(_MOST_S / _LEAST_S, _STEP)) + 1

ACCURACY = math.sqrt(_STEP) - 1
"""Of a percentile, relative to it: half a percent."""


class TimeHistogram:
    """Counts durations in bins whose widths grow with the duration: 20 kB, however many there are.

    ``count``, ``total_s`` and ``most_s`` are exact; percentiles are of the nearest rank and within ``ACCURACY``, for durations
    from 0.1 microseconds to some hours.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_s = 0.0
        self.least_s, self.most_s = math.inf, 0.0
        self._counts = np.zeros(_BINS, np.int64)  # (bins,)

    def add(self, duration_s: float) -> None:
        """Count one."""
        self.count += 1
        self.total_s += duration_s
        self.least_s, self.most_s = min(self.least_s, duration_s), max(self.most_s, duration_s)
        within_s = min(max(duration_s, _LEAST_S), _MOST_S)
        self._counts[round(math.log(within_s / _LEAST_S, _STEP))] += 1

    @property
    def mean_s(self) -> float:
        """NaN without durations."""
        return self.total_s / self.count if self.count else math.nan

    def percentile_s(self, percent: float) -> float:
        """The duration that so many percent of all do not exceed; NaN without durations."""
        if not self.count:
            return math.nan
        rank = math.ceil(percent / 100 * self.count)
        if rank >= self.count:
            return self.most_s
        bin_of_rank = int(np.searchsorted(np.cumsum(self._counts), max(rank, 1)))
        return min(max(_LEAST_S * _STEP**bin_of_rank, self.least_s), self.most_s)
