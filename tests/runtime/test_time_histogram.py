"""Durations in bounded memory."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from posemoe_edge.runtime.time_histogram import ACCURACY, TimeHistogram


@pytest.mark.parametrize("scale_s", [2e-6, 3e-3, 40.0])
def test_percentiles_are_those_of_all_durations_within_the_stated_accuracy(scale_s: float) -> None:
    durations_s = scale_s * np.random.default_rng(0).lognormal(sigma=1.0, size=5000)
    histogram = TimeHistogram()
    for duration_s in durations_s:
        histogram.add(float(duration_s))
    for percent in (1, 50, 90, 99, 99.9):
        exact_s = np.percentile(durations_s, percent, method="inverted_cdf")
        assert histogram.percentile_s(percent) == pytest.approx(exact_s, rel=1.001 * ACCURACY)
    assert histogram.percentile_s(100) == durations_s.max()
    assert histogram.mean_s == pytest.approx(durations_s.mean()) and histogram.count == 5000


def test_equal_durations_have_that_percentile_exactly() -> None:
    histogram = TimeHistogram()
    for _ in range(3):
        histogram.add(0.0123)
    assert [histogram.percentile_s(percent) for percent in (1, 50, 99, 100)] == 4 * [0.0123]


def test_durations_beyond_the_bins_are_counted() -> None:
    histogram = TimeHistogram()
    for duration_s in (0.0, 1e-9, 1e6):
        histogram.add(duration_s)
    assert histogram.count == 3 and histogram.percentile_s(100) == 1e6 and histogram.percentile_s(1) <= 1e-7


def test_without_durations_there_is_no_percentile() -> None:
    assert math.isnan(TimeHistogram().percentile_s(50)) and math.isnan(TimeHistogram().mean_s)


def test_its_memory_does_not_grow() -> None:
    histogram = TimeHistogram()
    counts = histogram._counts
    for _ in range(10_000):
        histogram.add(0.002)
    assert histogram._counts is counts and sys.getsizeof(counts) < 32_000
