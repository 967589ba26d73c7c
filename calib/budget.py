"""Drift in millimetres, and the budget that it is judged by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..runtime.certificate import Budget

Floats = NDArray[np.float64]

# What a robot does not notice: a tenth of a good lifter's own error on average, and no growth that a working day would show.
DEFAULT_BUDGET = Budget(mean_mm=1.0, p99_mm=5.0, max_mm=20.0, slope_mm_per_1000=0.1)


def drift_mm(poses: NDArray[np.float32], reference: NDArray[np.float32]) -> Floats:
    """(T, J) distance of each joint from where the reference has it, in millimetres."""
    return 1000 * np.linalg.norm(poses.astype(np.float64) - reference.astype(np.float64), axis=-1)  # type: ignore[no-any-return]


def measure(drift: Floats) -> Budget:
    """What a (T, J) drift amounts to, in the terms of a budget.

    The slope is that of the least-squares line through the frames' mean drift: an error that builds up in the state has
    one, rounding has none.
    """
    by_frame = drift.mean(axis=1)
    frames = np.arange(len(by_frame))
    slope = np.polyfit(frames, by_frame, 1)[0] if len(by_frame) > 1 else 0.0
    return Budget(
        mean_mm=float(drift.mean()),
        p99_mm=float(np.percentile(drift, 99)),
        max_mm=float(drift.max()),
        slope_mm_per_1000=float(1000 * slope),
    )


def exceeded(measured: Budget, budget: Budget) -> tuple[str, ...]:
    """What is over the budget, in words; empty if it passes. A drift that is not finite passes nothing."""
    over = []
    for field in Budget.model_fields:
        have, allowed = getattr(measured, field), getattr(budget, field)
        if not have <= allowed:
            over.append(f"{field} {have:.4g} > {allowed:.4g}")
    return tuple(over)


def smallest_budget(measured: Budget) -> Budget:
    """The tightest budget of two digits that the drift would pass."""
    return Budget(**{field: _rounded_up(getattr(measured, field)) for field in Budget.model_fields})


def _rounded_up(value: float) -> float:
    """Up to two significant digits; what does not grow needs no allowance."""
    if not value > 0:
        return 0.0 if value <= 0 else value
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    up = float(f"{np.ceil(value / unit) * unit:.6g}")
    return up if up >= value else float(f"{(np.ceil(value / unit) + 1) * unit:.6g}")
