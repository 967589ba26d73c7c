"""Ranges: what each method clips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from posemoe_edge.calib.quantize.ranges import METHODS, PERCENTILE, RangeMethod, find_amax
from posemoe_edge.runtime import UsageError
from posemoe_edge.runtime.arrays import F32, F64

DRAWS: dict[str, Callable[[np.random.Generator], F64]] = {
    "normal": lambda rng: rng.normal(size=200_000),
    "laplace": lambda rng: rng.laplace(size=200_000),
    "heavy": lambda rng: rng.standard_t(4, size=200_000),
}


@pytest.fixture(params=DRAWS)
def drawn(request: pytest.FixtureRequest) -> F32:
    return DRAWS[request.param](np.random.default_rng(0)).astype(np.float32)


def rounding_error(x: F32, amax: float) -> float:
    scale = amax / 127
    return float(((np.clip(np.round(x / scale), -127, 127) * scale - x) ** 2).mean())


def test_minmax_clips_nothing_not_even_what_the_sample_lacks(drawn: F32) -> None:
    assert find_amax(drawn, 123.0, "minmax") == 123.0


def test_percentile_clips_a_ten_thousandth(drawn: F32) -> None:
    amax = find_amax(drawn, float(np.abs(drawn).max()), "percentile")
    assert np.mean(np.abs(drawn) > amax) == pytest.approx(1 - PERCENTILE / 100, rel=0.1)


def test_mse_is_as_good_as_any_other_amax(drawn: F32) -> None:
    observed_amax = float(np.abs(drawn).max())
    best = min(rounding_error(drawn, fraction * observed_amax) for fraction in np.linspace(0.1, 1, 91))
    assert rounding_error(drawn, find_amax(drawn, observed_amax, "mse")) <= 1.02 * best


def test_entropy_clips_a_long_tail_and_nothing_of_an_even_spread() -> None:
    rng = np.random.default_rng(0)
    tailed, even = rng.standard_t(3, size=100_000), rng.uniform(-1, 1, size=100_000)
    assert find_amax(tailed, float(np.abs(tailed).max()), "entropy") < 0.5 * np.abs(tailed).max()
    assert find_amax(even, float(np.abs(even).max()), "entropy") > 0.95 * np.abs(even).max()


@pytest.mark.parametrize("method", METHODS)
def test_no_method_exceeds_the_observed_amax(method: RangeMethod, drawn: F32) -> None:
    observed_amax = float(np.abs(drawn).max())
    assert 0 < find_amax(drawn, observed_amax, method) <= observed_amax


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_of_zeros_has_a_range_of_zero(method: RangeMethod) -> None:
    assert find_amax(np.zeros(10), 0.0, method) == 0.0


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(UsageError, match="no method 'guess'; expected one of minmax, percentile, entropy, mse"):
        find_amax(np.ones(3), 1.0, "guess")  # type: ignore[arg-type]
