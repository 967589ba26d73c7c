"""Rounding of weights to INT8: each to the nearest value, or row by row so that errors cancel (GPTQ)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import F32, F64
from .ranges import QMAX

Int8 = NDArray[np.int8]

# A half below this one has fewer digits than the others: a scale that small would itself be wrong by percents.
SMALLEST_SCALE = 2.0**-14
DAMPING = 0.01  # of the Gram matrix's mean diagonal, as in GPTQ


def half_scale(scale: Any) -> Any:
    """A scale rounded to FP16, so that a layer has the same INT8 values in FP16 and in FP32 graphs."""
    return np.asarray(scale, np.float16).astype(np.float32)[()]


def weight_scales(weight: F32) -> F32:
    """(N,) scales of (K, N) weights, one for each output: its largest |w| becomes 127."""
    return half_scale(np.maximum(np.abs(weight).max(axis=0) / QMAX, SMALLEST_SCALE))  # type: ignore[no-any-return]


def nearest_round(weight: F32, scale: F32) -> Int8:
    """(K, N) weights, each to the nearest INT8 value."""
    return np.clip(np.round(weight / scale), -QMAX, QMAX).astype(np.int8)


def gptq_round(weight: F32, scale: F32, gram: F64) -> Int8:
    """Weights rounded row by row, the rounding error of a row spread over the rows after it (GPTQ, Frantar et al. 2023).

    The error is spread by how the rows' inputs correlate, so that it cancels in the layer's output.

    Args:
        weight: (K, N).
        scale: (N,).
        gram: (K, K) X'X, the sum of x x' over the layer's inputs.
    """
    remaining = weight.astype(np.float64)
    damping = DAMPING * np.trace(gram) / len(gram)
    if damping <= 0:  # the inputs were always zero: nothing correlates
        return nearest_round(weight, scale)
    # Row k of the inverse's Cholesky factor says how the rows after k make up for its error.
    factor = np.linalg.cholesky(np.linalg.inv(gram + damping * np.eye(len(gram)))).T
    qweight = np.zeros(weight.shape, np.int8)
    for k in range(len(remaining)):
        qweight[k] = np.clip(np.round(remaining[k] / scale), -QMAX, QMAX)
        error = (remaining[k] - qweight[k] * scale) / factor[k, k]
        remaining[k + 1 :] -= np.outer(factor[k, k + 1 :], error)
    return qweight
