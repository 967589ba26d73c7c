"""Ranges: amax, the |x| that becomes the largest INT8 value."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from ...runtime.errors import UsageError
from ...runtime.registry import suggest

RangeMethod = Literal["minmax", "percentile", "entropy", "mse"]
METHODS: tuple[RangeMethod, ...] = get_args(RangeMethod)

QMAX = 127  # the largest signed, symmetric INT8 value
BINS = 2048
PERCENTILE = 99.99


def find_amax(sample: NDArray[Any], observed_amax: float, method: RangeMethod) -> float:
    """The |x| at which a tensor is clipped.

    ``minmax`` clips nothing, ``percentile`` a ten-thousandth of the numbers; ``mse`` has the least mean squared error, and
    ``entropy`` changes the distribution least (Kullback-Leibler).

    Args:
        sample: numbers of the tensor, of any shape.
        observed_amax: the largest |x| of all, which the sample may lack.

    Raises:
        UsageError: an unknown method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}{suggest(method, METHODS)}", expected=f"one of {', '.join(METHODS)}")
    magnitude = np.abs(sample).ravel()
    if method == "minmax" or not magnitude.any():
        return observed_amax
    if method == "percentile":
        return min(observed_amax, float(np.percentile(magnitude, PERCENTILE)))
    if method == "entropy":
        return _entropy_amax(magnitude, observed_amax)
    counts, edges = np.histogram(magnitude, bins=BINS, range=(0.0, observed_amax))
    candidates = np.arange(QMAX + 1, BINS + 1, 16)
    best = candidates[int(np.argmin([_squared_error(counts, int(bins)) for bins in candidates]))]
    return float(edges[best])


def _squared_error(counts: NDArray[np.int64], bins: int) -> float:
    """The sum of squared errors, in bins, if the INT8 values span the first ``bins`` bins and the rest is clipped."""
    middle = np.arange(len(counts)) + 0.5
    scale = bins / QMAX
    return float(counts @ (middle - np.minimum(np.round(middle / scale), QMAX) * scale) ** 2)


def _entropy_amax(magnitude: NDArray[Any], observed_amax: float) -> float:
    """The threshold of ONNX Runtime's own entropy calibrator, on the same histogram of both signs."""
    collector = HistogramCollector("entropy", True, BINS, QMAX + 1, PERCENTILE, "same")
    edges = np.linspace(-observed_amax, observed_amax, 2 * BINS + 2)
    counts = np.histogram(np.concatenate([-magnitude, magnitude]), edges)[0]
    histogram = (counts, edges, -observed_amax, observed_amax, observed_amax)
    low, high = collector.get_entropy_threshold(histogram, QMAX + 1)[:2]
    return min(observed_amax, float(max(-low, high)))
