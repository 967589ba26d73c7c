"""A linear layer in INT8: its channels smoothed, its weights rounded by GPTQ.

A tensor has one scale, so its widest channel decides how coarse all others are. Smoothing subtracts each channel's middle and
divides by a factor of the channel's own. The factors go into the weights' rows and the middles into the bias, exactly: the
shifting and scaling of Outlier Suppression+ (Wei et al. 2023), with SmoothQuant's alpha (Xiao et al. 2023) as the compromise
between activations and weights. The weights are rounded afterwards, see ``rounding.gptq_round``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...runtime.arrays import F32
from ..graph.layers import LinearLayer
from ..measure.observer import TensorStats
from .ranges import QMAX, RangeMethod, find_amax
from .rounding import SMALLEST_SCALE, Int8, gptq_round, half_scale, nearest_round, weight_scales

# SmoothQuant's alpha: the share of the channels' differences that moves from activations to weights. None is no smoothing.
ALPHAS: tuple[float | None, ...] = (None, 0.25, 0.5, 0.75)


@dataclass(frozen=True, eq=False)
class QuantizedLinear:
    """A linear layer in INT8.

    y = (q((x - channel_shift) / channel_scale) @ qweight) * activation_scale * weight_scale + bias, where q divides by
    activation_scale, rounds and clips to -127..127.

    Args:
        qweight: (K, N) INT8 weights.
        weight_scale: (N,) one for each output.
        amax: the |x| of the smoothed activations that becomes 127; None leaves the activations as they are (weights alone).
        channel_shift, channel_scale: (K,) of the activations' channels; None without smoothing.
        bias: (N,) channel_shift @ weight, added to the product; None without smoothing.
        alpha: SmoothQuant's; None without smoothing.
    """

    qweight: Int8
    weight_scale: F32
    amax: float | None = None
    channel_shift: F32 | None = None
    channel_scale: F32 | None = None
    bias: F32 | None = None
    alpha: float | None = None

    @property
    def activation_scale(self) -> float:
        """The distance between two INT8 values of the activations, which must be quantised."""
        assert self.amax is not None
        return float(half_scale(max(self.amax / QMAX, SMALLEST_SCALE)))


def quantize_layers(
    layers: Sequence[LinearLayer],
    weights: Mapping[str, F32],
    stats: Mapping[str, TensorStats],
    method: RangeMethod,
    *,
    on_progress: Callable[[int], None] = lambda layers: None,
) -> dict[str, QuantizedLinear]:
    """Each layer in INT8, by name.

    Args:
        weights: (K, N) by layer name.
        stats: what was observed of the activations, by layer name.
        on_progress: called with 1 after each layer.
    """
    quantized = {}
    for layer in layers:
        quantized[layer.name] = quantize_linear(weights[layer.name], stats[layer.name], method)
        on_progress(1)
    return quantized


def quantize_linear(weight: F32, stats: TensorStats, method: RangeMethod) -> QuantizedLinear:
    """The layer in INT8, with the alpha of ``ALPHAS`` whose output has the least mean squared error on the sampled rows.

    Args:
        weight: (K, N).
        stats: of the layer's (..., K) input.
    """
    sample = stats.sample
    exact = sample @ weight
    candidates = [_smoothed(weight, stats, sample, alpha, method) for alpha in ALPHAS]
    errors = [float(((_output(candidate, sample) - exact) ** 2).mean()) for candidate in candidates]
    best = candidates[int(np.argmin(errors))]
    gram = stats.gram
    if best.channel_shift is not None and best.channel_scale is not None:
        cross = np.outer(stats.total, best.channel_shift)
        gram = gram - cross - cross.T + stats.rows * np.outer(best.channel_shift, best.channel_shift)
        gram = gram / np.outer(best.channel_scale, best.channel_scale)
        weight = weight * best.channel_scale[:, None]
    qweight = gptq_round(weight, best.weight_scale, gram)
    return QuantizedLinear(qweight, best.weight_scale, best.amax, best.channel_shift, best.channel_scale, best.bias, best.alpha)


def quantize_weights(weight: F32) -> QuantizedLinear:
    """The weights alone, each rounded to the nearest value: what can be done without calibration."""
    scale = weight_scales(weight)
    return QuantizedLinear(nearest_round(weight, scale), scale)


def _smoothed(weight: F32, stats: TensorStats, sample: F32, alpha: float | None, method: RangeMethod) -> QuantizedLinear:
    """The layer smoothed by that alpha, its weights rounded to the nearest value."""
    if alpha is None or not weight.any():
        scale = weight_scales(weight)
        observed_amax = float(max(-stats.low.min(), stats.high.max()))
        return QuantizedLinear(nearest_round(weight, scale), scale, find_amax(sample, observed_amax, method))
    shift = half_scale((stats.low + stats.high) / 2)
    half_range = (stats.high - stats.low) / 2
    row_amax = np.abs(weight).max(axis=1)
    # A channel that hardly varies, or that no output uses, must not be scaled up to the others' size.
    half_range, row_amax = (np.maximum(size, 1e-3 * size.max()) for size in (half_range, row_amax))
    channel_scale = half_range**alpha / row_amax ** (1 - alpha)
    channel_scale = half_scale(channel_scale / np.exp(np.log(channel_scale).mean()))
    scaled = weight * channel_scale[:, None]
    scale = weight_scales(scaled)
    observed_amax = float((np.maximum(stats.high - shift, shift - stats.low) / channel_scale).max())
    amax = find_amax((sample - shift) / channel_scale, observed_amax, method)
    return QuantizedLinear(nearest_round(scaled, scale), scale, amax, shift, channel_scale, shift @ weight, alpha)


def _output(layer: QuantizedLinear, x: F32) -> F32:
    """(rows, N) output of the layer in INT8 for (rows, K) activations."""
    if layer.channel_shift is not None and layer.channel_scale is not None:
        x = (x - layer.channel_shift) / layer.channel_scale
    qx = np.clip(np.round(x / layer.activation_scale), -QMAX, QMAX)
    y: F32 = (qx @ layer.qweight.astype(np.float32)) * (layer.activation_scale * layer.weight_scale)
    return y if layer.bias is None else y + layer.bias
