"""Coding: how a layer becomes INT8. Channels levelled, weights rounded so that their errors make up for one another.

A tensor has one scale, so its widest channel decides how coarse all others are. Subtracting each channel's middle and dividing
it by a factor of its own levels them; the factors go into the weights' rows and the middles into the bias, exactly (the
shifting and scaling of Outlier Suppression+, Wei et al. 2023, with SmoothQuant's compromise between activations and weights,
Xiao et al. 2023). The weights are then rounded row by row, and what each rounding costs is made up for by the rows that are not
yet rounded, as far as their inputs go together (GPTQ, Frantar et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph.layers import Layer
from ..measure.observer import TensorStats
from .ranges import LEVELS, Method, limit

Floats = NDArray[np.float32]
Codes = NDArray[np.int8]

# A half below this one has fewer digits than the others: a scale that small would itself be wrong by percents.
SMALLEST_SCALE = 2.0**-14
# How much of the difference between channels goes from the activations to the weights; None leaves both as they are.
SHARES: tuple[float | None, ...] = (None, 0.25, 0.5, 0.75)
DAMPING = 0.01


@dataclass(frozen=True, eq=False)
class QuantizedLinear:
    """A layer in INT8: y = (((x - shift) / factor) to codes of ``step``) @ (codes * scale) + bias.

    Args:
        shift, factor: (K,) of the activations' channels; None where they stay as they are.
        limit: the |x| that becomes 127; None leaves the activations as they are: weights alone.
        codes, scale: (K, N) and (N,), of the weights.
        bias: (N,) what the shift amounts to.
        share: how the channels were levelled.
    """

    codes: Codes
    scale: Floats
    limit: float | None = None
    shift: Floats | None = None
    factor: Floats | None = None
    bias: Floats | None = None
    share: float | None = None

    @property
    def step(self) -> float:
        """Between two codes of the activations."""
        assert self.limit is not None
        return float(representable(max(self.limit / LEVELS, SMALLEST_SCALE)))


def representable(scale: Any) -> Any:
    """A scale as FP16 has it, so that a layer has one code in every graph."""
    return np.asarray(scale, np.float16).astype(np.float32)[()]


def code_layers(
    layers: Sequence[Layer],
    weights: Mapping[str, Floats],
    observed: Mapping[str, TensorStats],
    method: Method,
    *,
    tick: Callable[[int], None] = lambda layers: None,
) -> dict[str, QuantizedLinear]:
    """Each layer in INT8, by name.

    Args:
        weights: (K, N) by layer name.
        observed: the activations, by layer name.
    """
    coded = {}
    for layer in layers:
        coded[layer.name] = code(weights[layer.name], observed[layer.name], method)
        tick(1)
    return coded


def code(weight: Floats, seen: TensorStats, method: Method) -> QuantizedLinear:
    """The layer in INT8, its channels levelled as much as serves what comes out of it, on the rows that were kept."""
    sample = seen.sample
    exact = sample @ weight
    tried = [_levelled(weight, seen, sample, share, method) for share in SHARES]
    errors = [float(((_through(one, sample) - exact) ** 2).mean()) for one in tried]
    best = tried[int(np.argmin(errors))]
    moments = seen.moments
    if best.shift is not None and best.factor is not None:
        cross = np.outer(seen.total, best.shift)
        moments = moments - cross - cross.T + seen.rows * np.outer(best.shift, best.shift)
        moments = moments / np.outer(best.factor, best.factor)
        weight = weight * best.factor[:, None]
    codes = compensated(weight, best.scale, moments)
    return QuantizedLinear(codes, best.scale, best.limit, best.shift, best.factor, best.bias, best.share)


def code_weights(weight: Floats) -> QuantizedLinear:
    """The weights alone, each rounded to the nearest code."""
    scale = scales(weight)
    return QuantizedLinear(rounded(weight, scale), scale)


def scales(weight: Floats) -> Floats:
    """(N,) of (K, N) weights: each output's furthest becomes 127."""
    return representable(np.maximum(np.abs(weight).max(axis=0) / LEVELS, SMALLEST_SCALE))  # type: ignore[no-any-return]


def rounded(weight: Floats, scale: Floats) -> Codes:
    """Each to the nearest code."""
    return np.clip(np.round(weight / scale), -LEVELS, LEVELS).astype(np.int8)


def compensated(weight: Floats, scale: Floats, moments: NDArray[np.float64]) -> Codes:
    """Rounded row by row; the error of a row goes to the rows after it, by how their inputs go together.

    Args:
        weight: (K, N).
        moments: (K, K) sum of x x' over what the layer takes.
    """
    left = weight.astype(np.float64)
    damping = DAMPING * np.trace(moments) / len(moments)
    if damping <= 0:  # inputs that were always zero: nothing goes together
        return rounded(weight, scale)
    # Of the inverse's Cholesky factor, row k holds what is left to be made up for once the rows before k are decided.
    spread = np.linalg.cholesky(np.linalg.inv(moments + damping * np.eye(len(moments)))).T
    codes = np.zeros(weight.shape, np.int8)
    for k in range(len(left)):
        codes[k] = np.clip(np.round(left[k] / scale), -LEVELS, LEVELS)
        error = (left[k] - codes[k] * scale) / spread[k, k]
        left[k + 1 :] -= np.outer(spread[k, k + 1 :], error)
    return codes


def _levelled(weight: Floats, seen: TensorStats, sample: Floats, share: float | None, method: Method) -> QuantizedLinear:
    """The layer with so much of its channels' differences levelled, its weights simply rounded."""
    if share is None or not weight.any():
        scale = scales(weight)
        furthest = float(max(-seen.low.min(), seen.high.max()))
        return QuantizedLinear(rounded(weight, scale), scale, limit(sample, furthest, method))
    shift = representable((seen.low + seen.high) / 2)
    half = (seen.high - seen.low) / 2
    across = np.abs(weight).max(axis=1)
    # A channel that hardly varies, or that nothing takes, must not be blown up to the others' size.
    half, across = (np.maximum(size, 1e-3 * size.max()) for size in (half, across))
    factor = half**share / across ** (1 - share)
    factor = representable(factor / np.exp(np.log(factor).mean()))
    turned = weight * factor[:, None]
    scale = scales(turned)
    furthest = float((np.maximum(seen.high - shift, shift - seen.low) / factor).max())
    most = limit((sample - shift) / factor, furthest, method)
    return QuantizedLinear(rounded(turned, scale), scale, most, shift, factor, shift @ weight, share)


def _through(coded: QuantizedLinear, x: Floats) -> Floats:
    """What the layer in INT8 makes of (rows, K) activations."""
    if coded.shift is not None and coded.factor is not None:
        x = (x - coded.shift) / coded.factor
    codes = np.clip(np.round(x / coded.step), -LEVELS, LEVELS)
    y: Floats = (codes @ coded.codes.astype(np.float32)) * (coded.step * coded.scale)
    return y if coded.bias is None else y + coded.bias
