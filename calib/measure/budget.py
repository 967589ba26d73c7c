"""Drift in millimetres, and the budget that it is judged by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.artefact.certificate import Accuracy, Budget, SlopeInterval
from .slope import slope

Floats = NDArray[np.float64]

# What a robot does not notice: a fiftieth of a good lifter's own error on average, no growth that a working day would show, and
# of its accuracy a hundredth.
DEFAULT_BUDGET = Budget(mean_mm=1.0, p99_mm=5.0, max_mm=20.0, slope_mm_per_1000=0.1, mpjpe_loss_mm=0.5)


def budget_of(mean_mm: float) -> Budget:
    """A budget by its mean drift: the worst frames in the default's proportion, growth and accuracy as by default."""
    times = mean_mm / DEFAULT_BUDGET.mean_mm
    return DEFAULT_BUDGET.model_copy(
        update={"mean_mm": mean_mm, "p99_mm": times * DEFAULT_BUDGET.p99_mm, "max_mm": times * DEFAULT_BUDGET.max_mm}
    )


def of_frames(budget: Budget) -> Budget:
    """What a budget says of single frames, for streams that are too short to tell growth and accuracy."""
    return budget.model_copy(update={"slope_mm_per_1000": float("inf"), "mpjpe_loss_mm": None})


def drift_mm(poses: NDArray[np.float32], reference: NDArray[np.float32]) -> Floats:
    """(..., J) distance of each joint from where the reference has it, in millimetres, of (..., J, 3) poses."""
    return 1000 * np.linalg.norm(poses.astype(np.float64) - reference.astype(np.float64), axis=-1)  # type: ignore[no-any-return]


def measure(
    drift: Floats, *, before: Accuracy | None = None, after: Accuracy | None = None
) -> tuple[Budget, SlopeInterval | None]:
    """What a drift amounts to, in the terms of a budget; and where its slope lies.

    The slope is that of the frames' mean drift over all streams: an error that builds up in the state has one, rounding has
    none.

    Args:
        drift: (S, T, J) of S streams.
        before, after: the reference's accuracy, and that of what drifted.
    """
    per_1000, interval = slope(drift.mean(axis=(0, 2)))
    measured = Budget(
        mean_mm=float(drift.mean()),
        p99_mm=float(np.percentile(drift, 99)),
        max_mm=float(drift.max()),
        slope_mm_per_1000=per_1000,
        mpjpe_loss_mm=after.mpjpe_mm - before.mpjpe_mm if before and after else None,
    )
    return measured, interval


def exceeded(measured: Budget, budget: Budget) -> tuple[str, ...]:
    """What is over the budget, in words; empty if it passes. What is not finite passes nothing; None is not judged."""
    over = []
    for field in Budget.model_fields:
        have, allowed = getattr(measured, field), getattr(budget, field)
        if have is not None and allowed is not None and not have <= allowed:
            over.append(f"{field} {have:.4g} > {allowed:.4g}")
    return tuple(over)


def smallest_budget(measured: Budget) -> Budget:
    """The tightest budget of two digits that the drift would pass."""
    return Budget.model_validate({field: _rounded_up(getattr(measured, field)) for field in Budget.model_fields})


def _rounded_up(value: float | None) -> float | None:
    """Up to two significant digits; what does not grow needs no allowance."""
    if value is None or not value > 0:
        return value if value is None or value != value else 0.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    up = float(f"{np.ceil(value / unit) * unit:.6g}")
    return up if up >= value else float(f"{(np.ceil(value / unit) + 1) * unit:.6g}")
