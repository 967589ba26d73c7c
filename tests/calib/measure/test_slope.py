"""The slope of a drift, and its confidence interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from posemoe_edge.calib.measure.slope import fit_slope, students_t
from posemoe_edge.runtime.arrays import F64


def correlated_noise(frames: int, seed: int, *, keep: float = 0.9) -> F64:
    """(frames,) noise of variance 1, correlated from frame to frame as a person's drift is."""
    rng = np.random.default_rng(seed)
    noise, fresh = np.empty(frames), rng.normal(size=frames) * math.sqrt(1 - keep**2)
    noise[0] = rng.normal()
    for i in range(1, frames):
        noise[i] = keep * noise[i - 1] + fresh[i]
    return noise


@pytest.mark.parametrize("frames", [2, 40, 999, 1000, 3000, 20_001])
def test_a_line_has_its_slope_whatever_the_blocks(frames: int) -> None:
    per_1000, interval = fit_slope(0.5 + 0.003 * np.arange(frames, dtype=np.float64))
    assert per_1000 == pytest.approx(3.0)
    assert (interval is not None) == (frames >= 1000)
    if interval:
        assert interval.distinct and interval.low == pytest.approx(3.0) and interval.high == pytest.approx(3.0)


def test_a_single_frame_has_no_slope() -> None:
    assert fit_slope(np.ones(1)) == (0.0, None)


def test_the_interval_holds_the_true_slope_nineteen_times_of_twenty() -> None:
    """Drifts of neighbouring frames are correlated; the interval of a line through all frames is far too narrow."""
    hits, naive, runs, frames = 0, 0, 400, 2000
    x = np.arange(frames) / 1000
    away = x - x.mean()
    for seed in range(runs):
        y = correlated_noise(frames, seed) + 0.2 * x
        per_1000, interval = fit_slope(y)
        assert interval is not None and interval.low < per_1000 < interval.high
        hits += interval.low <= 0.2 <= interval.high
        fit = away @ y / (away @ away)
        naive += abs(fit - 0.2) <= 1.96 * np.std(y - y.mean() - fit * away) / math.sqrt(away @ away)
    assert 0.90 <= hits / runs <= 0.99
    assert naive / runs < 0.6


def test_a_slope_is_distinct_from_zero_only_if_it_is_larger_than_the_noise() -> None:
    noise, x = correlated_noise(4000, 1), np.arange(4000) / 1000
    still, rising, falling = (fit_slope(noise + per_1000 * x)[1] for per_1000 in (0, 2, -2))
    assert still and rising and falling
    assert not still.distinct and rising.distinct and falling.distinct and rising.low > 0 > falling.high


@pytest.mark.parametrize("freedom", [3, 8, 38])
def test_the_quantile_is_that_of_students_t(freedom: int) -> None:
    """Simulated: a normal variable over the root of a chi-squared one divided by its degrees of freedom."""
    rng = np.random.default_rng(0)
    t = rng.normal(size=400_000) / np.sqrt(rng.chisquare(freedom, 400_000) / freedom)
    assert np.mean(np.abs(t) <= students_t(freedom)) == pytest.approx(0.95, abs=0.0015)


def test_a_nan_drift_has_a_nan_slope() -> None:
    drift = np.ones(1000)
    drift[50] = np.nan
    per_1000, interval = fit_slope(drift)
    assert math.isnan(per_1000) and interval is not None and not interval.distinct
