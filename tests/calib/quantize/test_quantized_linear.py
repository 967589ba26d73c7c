"""Quantised linear layers: smoothed exactly, rounded so that errors cancel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from posemoe_edge.calib.measure.observer import TensorStats
from posemoe_edge.calib.quantize.quantized_linear import QuantizedLinear, quantize_linear, quantize_weights
from posemoe_edge.calib.quantize.rounding import SMALLEST_SCALE, gptq_round, half_scale, nearest_round, weight_scales


def stats_of(x: np.ndarray) -> TensorStats:
    stats = TensorStats(calls=1)
    stats.add(x.astype(np.float32), np.random.default_rng(0))
    return stats


def uneven(rng: np.random.Generator, rows: int, channels: int) -> np.ndarray:
    """(rows, channels) of correlated channels with offsets and of very different sizes."""
    mixed = rng.normal(size=(rows, channels)) @ rng.normal(size=(channels, channels))
    return (mixed * np.geomspace(0.05, 5, channels) + rng.normal(size=channels)).astype(np.float32)


def weights(rng: np.random.Generator, channels: int, outputs: int) -> np.ndarray:
    return rng.normal(size=(channels, outputs)).astype(np.float32)


def output_of(quantized: QuantizedLinear, x: np.ndarray) -> np.ndarray:
    """The quantised layer's output for x, computed in float64 from the layer's fields."""
    x = x.astype(np.float64)
    if quantized.channel_shift is not None and quantized.channel_scale is not None:
        x = (x - quantized.channel_shift) / quantized.channel_scale
    if quantized.amax is not None:
        x = np.clip(np.round(x / quantized.activation_scale), -127, 127) * quantized.activation_scale
    y = x @ (quantized.qweight.astype(np.float64) * quantized.weight_scale)
    return y if quantized.bias is None else y + quantized.bias


def error_of(quantized: QuantizedLinear, x: np.ndarray, weight: np.ndarray) -> float:
    return float(((output_of(quantized, x) - x @ weight) ** 2).mean())


@given(st.integers(0, 1000), st.integers(16, 40), st.integers(16, 40))
def test_a_quantised_layer_is_nearly_the_layer(seed: int, channels: int, outputs: int) -> None:
    rng = np.random.default_rng(seed)
    x, weight = uneven(rng, 600, channels), weights(rng, channels, outputs)
    quantized = quantize_linear(weight, stats_of(x), "minmax")
    assert error_of(quantized, x, weight) < 1e-3 * ((x @ weight) ** 2).mean()


def test_smoothing_alone_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    x, weight = uneven(rng, 600, 24), weights(rng, 24, 32)
    quantized = quantize_linear(weight, stats_of(x), "minmax")
    assert (
        quantized.alpha is not None
        and quantized.channel_shift is not None
        and quantized.channel_scale is not None
        and quantized.bias is not None
    )
    smoothed = ((x - quantized.channel_shift) / quantized.channel_scale) @ (
        weight * quantized.channel_scale[:, None]
    ) + quantized.bias
    np.testing.assert_allclose(smoothed, x @ weight, atol=1e-3)


def test_smoothing_reduces_the_error_where_channels_differ() -> None:
    rng = np.random.default_rng(2)
    x, weight = uneven(rng, 2000, 32), weights(rng, 32, 32)
    quantized = quantize_linear(weight, stats_of(x), "minmax")
    scale = weight_scales(weight)
    plain = QuantizedLinear(nearest_round(weight, scale), scale, float(np.abs(x).max()))
    assert error_of(quantized, x, weight) < 0.5 * error_of(plain, x, weight)


def test_even_channels_are_not_smoothed() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, size=(2000, 32)).astype(np.float32)
    x[0], x[1] = 1, -1
    weight = rng.choice([-1.0, 1.0], size=(32, 16)).astype(np.float32)
    assert quantize_linear(weight, stats_of(x), "minmax").alpha is None


def test_gptq_has_a_smaller_error_where_inputs_correlate() -> None:
    rng = np.random.default_rng(4)
    few = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 48))  # 48 channels, mixtures of six
    x, weight = (few + 0.1 * rng.normal(size=few.shape)).astype(np.float32), weights(rng, 48, 48)
    scale = weight_scales(weight)
    nearest, gptq = nearest_round(weight, scale), gptq_round(weight, scale, x.astype(np.float64).T @ x)

    def output_error(qweight: np.ndarray) -> float:
        return float(((x @ (qweight * scale) - x @ weight) ** 2).mean())

    assert output_error(gptq) < 0.5 * output_error(nearest)


def test_without_correlation_each_weight_takes_the_nearest_value() -> None:
    weight = weights(np.random.default_rng(5), 20, 16)
    scale = weight_scales(weight)
    np.testing.assert_array_equal(gptq_round(weight, scale, np.eye(20) * 7), nearest_round(weight, scale))
    np.testing.assert_array_equal(gptq_round(weight, scale, np.zeros((20, 20))), nearest_round(weight, scale))


def test_weights_of_zero_stay_zero() -> None:
    x = uneven(np.random.default_rng(6), 200, 16)
    quantized = quantize_linear(np.zeros((16, 16), np.float32), stats_of(x), "minmax")
    assert not quantized.qweight.any() and np.isfinite(quantized.weight_scale).all() and (quantized.weight_scale > 0).all()
    assert not output_of(quantized, x).any()


def test_a_channel_that_hardly_varies_is_not_scaled_up() -> None:
    rng = np.random.default_rng(7)
    x = uneven(rng, 400, 16)
    x[:, 3] = 0
    quantized = quantize_linear(weights(rng, 16, 16), stats_of(x), "minmax")
    if quantized.channel_scale is not None:
        assert np.isfinite(1 / quantized.channel_scale).all() and (1 / quantized.channel_scale).max() < 1e4


@given(st.floats(1e-6, 1e4))
def test_a_scale_is_the_same_number_in_half_precision(size: float) -> None:
    scale = half_scale(max(size, SMALLEST_SCALE))
    assert np.float32(np.float16(scale)) == scale
    assert scale == pytest.approx(max(size, SMALLEST_SCALE), rel=1e-3)


def test_quantised_weights_alone_keep_their_range() -> None:
    weight = weights(np.random.default_rng(8), 16, 24)
    quantized = quantize_weights(weight)
    assert quantized.amax is None and quantized.qweight.dtype == np.int8
    np.testing.assert_allclose(
        quantized.qweight * quantized.weight_scale, weight, atol=0.51 * float(quantized.weight_scale.max())
    )
    with pytest.raises(AssertionError):
        _ = quantized.activation_scale
    assert replace(quantized, amax=127.0).activation_scale == 1.0
