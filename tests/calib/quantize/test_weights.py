"""Coding: levelled exactly, rounded so that errors make up for one another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.calib.measure.observer import TensorStats
from posemoe_edge.calib.quantize.quantized_linear import QuantizedLinear, quantize_linear, quantize_weights
from posemoe_edge.calib.quantize.rounding import SMALLEST_SCALE, gptq_round, half_scale, nearest_round, weight_scales


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
    if coded.channel_shift is not None and coded.channel_scale is not None:
        x = (x - coded.channel_shift) / coded.channel_scale
    if coded.amax is not None:
        x = np.clip(np.round(x / coded.activation_scale), -127, 127) * coded.activation_scale
    y = x @ (coded.qweight.astype(np.float64) * coded.weight_scale)
    return y if coded.bias is None else y + coded.bias


def error(coded: QuantizedLinear, x: np.ndarray, weight: np.ndarray) -> float:
    return float(((decoded(coded, x) - x @ weight) ** 2).mean())


@given(st.integers(0, 1000), st.integers(16, 40), st.integers(16, 40))
def test_a_coded_layer_is_nearly_the_layer(seed: int, channels: int, outputs: int) -> None:
    rng = np.random.default_rng(seed)
    x, weight = uneven(rng, 600, channels), weights(rng, channels, outputs)
    coded = quantize_linear(weight, seen(x), "minmax")
    assert error(coded, x, weight) < 1e-3 * ((x @ weight) ** 2).mean()


def test_levelling_alone_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    x, weight = uneven(rng, 600, 24), weights(rng, 24, 32)
    coded = quantize_linear(weight, seen(x), "minmax")
    assert (
        coded.alpha is not None
        and coded.channel_shift is not None
        and coded.channel_scale is not None
        and coded.bias is not None
    )
    levelled = ((x - coded.channel_shift) / coded.channel_scale) @ (weight * coded.channel_scale[:, None]) + coded.bias
    np.testing.assert_allclose(levelled, x @ weight, atol=1e-3)


def test_levelling_pays_where_channels_differ() -> None:
    rng = np.random.default_rng(2)
    x, weight = uneven(rng, 2000, 32), weights(rng, 32, 32)
    coded = quantize_linear(weight, seen(x), "minmax")
    scale = weight_scales(weight)
    plain = QuantizedLinear(nearest_round(weight, scale), scale, float(np.abs(x).max()))
    assert error(coded, x, weight) < 0.5 * error(plain, x, weight)


def test_even_channels_are_left_as_they_are() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, size=(2000, 32)).astype(np.float32)
    x[0], x[1] = 1, -1
    weight = rng.choice([-1.0, 1.0], size=(32, 16)).astype(np.float32)
    assert quantize_linear(weight, seen(x), "minmax").alpha is None


def test_rounding_with_compensation_errs_less_where_inputs_go_together() -> None:
    rng = np.random.default_rng(4)
    few = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 48))  # 48 channels that are mixtures of six
    x, weight = (few + 0.1 * rng.normal(size=few.shape)).astype(np.float32), weights(rng, 48, 48)
    scale = weight_scales(weight)
    nearest, better = nearest_round(weight, scale), gptq_round(weight, scale, x.astype(np.float64).T @ x)

    def missed(codes: np.ndarray) -> float:
        return float(((x @ (codes * scale) - x @ weight) ** 2).mean())

    assert missed(better) < 0.5 * missed(nearest)


def test_without_anything_that_goes_together_each_weight_takes_the_nearest_code() -> None:
    weight = weights(np.random.default_rng(5), 20, 16)
    scale = weight_scales(weight)
    np.testing.assert_array_equal(gptq_round(weight, scale, np.eye(20) * 7), nearest_round(weight, scale))
    np.testing.assert_array_equal(gptq_round(weight, scale, np.zeros((20, 20))), nearest_round(weight, scale))


def test_weights_of_zero_stay_zero() -> None:
    x = uneven(np.random.default_rng(6), 200, 16)
    coded = quantize_linear(np.zeros((16, 16), np.float32), seen(x), "minmax")
    assert not coded.qweight.any() and np.isfinite(coded.weight_scale).all() and (coded.weight_scale > 0).all()
    assert not decoded(coded, x).any()


def test_a_channel_that_hardly_varies_is_not_blown_up() -> None:
    rng = np.random.default_rng(7)
    x = uneven(rng, 400, 16)
    x[:, 3] = 0
    coded = quantize_linear(weights(rng, 16, 16), seen(x), "minmax")
    if coded.channel_scale is not None:
        assert np.isfinite(1 / coded.channel_scale).all() and (1 / coded.channel_scale).max() < 1e4


@given(st.floats(1e-6, 1e4))
def test_a_scale_is_the_same_number_in_half_precision(size: float) -> None:
    scale = half_scale(max(size, SMALLEST_SCALE))
    assert np.float32(np.float16(scale)) == scale
    assert scale == pytest.approx(max(size, SMALLEST_SCALE), rel=1e-3)


def test_weights_alone_reach_as_far_as_before() -> None:
    weight = weights(np.random.default_rng(8), 16, 24)
    coded = quantize_weights(weight)
    assert coded.amax is None and coded.qweight.dtype == np.int8
    np.testing.assert_allclose(coded.qweight * coded.weight_scale, weight, atol=0.51 * float(coded.weight_scale.max()))
    with pytest.raises(AssertionError):
        _ = coded.activation_scale
    assert replace(coded, amax=127.0).activation_scale == 1.0
