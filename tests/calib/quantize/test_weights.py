"""Coding: levelled exactly, rounded so that errors make up for one another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.calib.measure.observer import TensorStats
from posemoe_edge.calib.quantize.weights import (
    SMALLEST_SCALE,
    QuantizedLinear,
    code,
    code_weights,
    compensated,
    representable,
    rounded,
    scales,
)


def seen(x: np.ndarray) -> TensorStats:
    observed = TensorStats(calls=1)
    observed.add(x.astype(np.float32), np.random.default_rng(0))
    return observed


def uneven(rng: np.random.Generator, rows: int, channels: int) -> np.ndarray:
    """(rows, channels) that go together, off their zero and of very different sizes."""
    mixed = rng.normal(size=(rows, channels)) @ rng.normal(size=(channels, channels))
    return (mixed * np.geomspace(0.05, 5, channels) + rng.normal(size=channels)).astype(np.float32)


def weights(rng: np.random.Generator, channels: int, outputs: int) -> np.ndarray:
    return rng.normal(size=(channels, outputs)).astype(np.float32)


def decoded(coded: QuantizedLinear, x: np.ndarray) -> np.ndarray:
    """What the layer in INT8 makes of x, in float64 from its parts alone."""
    x = x.astype(np.float64)
    if coded.shift is not None and coded.factor is not None:
        x = (x - coded.shift) / coded.factor
    if coded.limit is not None:
        x = np.clip(np.round(x / coded.step), -127, 127) * coded.step
    y = x @ (coded.codes.astype(np.float64) * coded.scale)
    return y if coded.bias is None else y + coded.bias


def error(coded: QuantizedLinear, x: np.ndarray, weight: np.ndarray) -> float:
    return float(((decoded(coded, x) - x @ weight) ** 2).mean())


@given(st.integers(0, 1000), st.integers(16, 40), st.integers(16, 40))
def test_a_coded_layer_is_nearly_the_layer(seed: int, channels: int, outputs: int) -> None:
    rng = np.random.default_rng(seed)
    x, weight = uneven(rng, 600, channels), weights(rng, channels, outputs)
    coded = code(weight, seen(x), "minmax")
    assert error(coded, x, weight) < 1e-3 * ((x @ weight) ** 2).mean()


def test_levelling_alone_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    x, weight = uneven(rng, 600, 24), weights(rng, 24, 32)
    coded = code(weight, seen(x), "minmax")
    assert coded.share is not None and coded.shift is not None and coded.factor is not None and coded.bias is not None
    levelled = ((x - coded.shift) / coded.factor) @ (weight * coded.factor[:, None]) + coded.bias
    np.testing.assert_allclose(levelled, x @ weight, atol=1e-3)


def test_levelling_pays_where_channels_differ() -> None:
    rng = np.random.default_rng(2)
    x, weight = uneven(rng, 2000, 32), weights(rng, 32, 32)
    coded = code(weight, seen(x), "minmax")
    scale = scales(weight)
    plain = QuantizedLinear(rounded(weight, scale), scale, float(np.abs(x).max()))
    assert error(coded, x, weight) < 0.5 * error(plain, x, weight)


def test_even_channels_are_left_as_they_are() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, size=(2000, 32)).astype(np.float32)
    x[0], x[1] = 1, -1
    weight = rng.choice([-1.0, 1.0], size=(32, 16)).astype(np.float32)
    assert code(weight, seen(x), "minmax").share is None


def test_rounding_with_compensation_errs_less_where_inputs_go_together() -> None:
    rng = np.random.default_rng(4)
    few = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 48))  # 48 channels that are mixtures of six
    x, weight = (few + 0.1 * rng.normal(size=few.shape)).astype(np.float32), weights(rng, 48, 48)
    scale = scales(weight)
    nearest, better = rounded(weight, scale), compensated(weight, scale, x.astype(np.float64).T @ x)

    def missed(codes: np.ndarray) -> float:
        return float(((x @ (codes * scale) - x @ weight) ** 2).mean())

    assert missed(better) < 0.5 * missed(nearest)


def test_without_anything_that_goes_together_each_weight_takes_the_nearest_code() -> None:
    weight = weights(np.random.default_rng(5), 20, 16)
    scale = scales(weight)
    np.testing.assert_array_equal(compensated(weight, scale, np.eye(20) * 7), rounded(weight, scale))
    np.testing.assert_array_equal(compensated(weight, scale, np.zeros((20, 20))), rounded(weight, scale))


def test_weights_of_zero_stay_zero() -> None:
    x = uneven(np.random.default_rng(6), 200, 16)
    coded = code(np.zeros((16, 16), np.float32), seen(x), "minmax")
    assert not coded.codes.any() and np.isfinite(coded.scale).all() and (coded.scale > 0).all()
    assert not decoded(coded, x).any()


def test_a_channel_that_hardly_varies_is_not_blown_up() -> None:
    rng = np.random.default_rng(7)
    x = uneven(rng, 400, 16)
    x[:, 3] = 0
    coded = code(weights(rng, 16, 16), seen(x), "minmax")
    if coded.factor is not None:
        assert np.isfinite(1 / coded.factor).all() and (1 / coded.factor).max() < 1e4


@given(st.floats(1e-6, 1e4))
def test_a_scale_is_the_same_number_in_half_precision(size: float) -> None:
    scale = representable(max(size, SMALLEST_SCALE))
    assert np.float32(np.float16(scale)) == scale
    assert scale == pytest.approx(max(size, SMALLEST_SCALE), rel=1e-3)


def test_weights_alone_reach_as_far_as_before() -> None:
    weight = weights(np.random.default_rng(8), 16, 24)
    coded = code_weights(weight)
    assert coded.limit is None and coded.codes.dtype == np.int8
    np.testing.assert_allclose(coded.codes * coded.scale, weight, atol=0.51 * float(coded.scale.max()))
    with pytest.raises(AssertionError):
        _ = coded.step
    assert replace(coded, limit=127.0).step == 1.0
