"""Ranges: the |x| that becomes the largest INT8 code."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from ...runtime.errors import UsageError

Method = Literal["minmax", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

LEVELS = 127  # of a signed, symmetric INT8, on either side of zero
BINS = 2048
PERCENTILE = 99.99


def limit(sample: NDArray[Any], furthest: float, method: Method) -> float:
    """What is beyond it is clipped to it.

    ``minmax`` clips nothing, ``percentile`` a ten-thousandth of the numbers; ``mse`` errs least in the mean square, and
    ``entropy`` changes the distribution least (Kullback-Leibler).

    Args:
        sample: numbers of the tensor, of any shape.
        furthest: the largest |x| of all, which the sample may have missed.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}", expected=f"one of {', '.join(METHODS)}")
    size = np.abs(sample).ravel()
    if method == "minmax" or not size.any():
        return furthest
    if method == "percentile":
        return min(furthest, float(np.percentile(size, PERCENTILE)))
    if method == "entropy":
        return _entropy(size, furthest)
    counts, edges = np.histogram(size, bins=BINS, range=(0.0, furthest))
    candidates = np.arange(LEVELS + 1, BINS + 1, 16)
    best = candidates[int(np.argmin([_squared(counts, int(upto)) for upto in candidates]))]
    return float(edges[best])


def _squared(counts: NDArray[np.int64], upto: int) -> float:
    """The sum of squared errors, in bins, if the first so many bins are spread over the levels and the rest is clipped."""
    middle = np.arange(len(counts)) + 0.5
    step = upto / LEVELS
    return float(counts @ (middle - np.minimum(np.round(middle / step), LEVELS) * step) ** 2)


def _entropy(size: NDArray[Any], furthest: float) -> float:
    """As ONNX Runtime's own calibrator has it, on the same histogram of both signs."""
    collector = HistogramCollector("entropy", True, BINS, LEVELS + 1, PERCENTILE, "same")
    edges = np.linspace(-furthest, furthest, 2 * BINS + 2)
    counts = np.histogram(np.concatenate([-size, size]), edges)[0]
    low, high = collector.get_entropy_threshold((counts, edges, -furthest, furthest, furthest), LEVELS + 1)[:2]
    return min(furthest, float(max(-low, high)))
