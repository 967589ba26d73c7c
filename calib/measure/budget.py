"""Drift in millimetres, and the budget by which it is judged."""

from __future__ import annotations

import numpy as np

from ...runtime.arrays import F32, F64
from ...runtime.artefact.certificate import Accuracy, Budget, SlopeInterval
from .slope import fit_slope

# On average a fiftieth of a good lifter's own error, and a hundredth of its accuracy: a robot does not notice either. The limit
# on growth finds an error that builds up in the state. It is no promise for a day: at 50 Hz it allows 18 mm in an hour.
DEFAULT_BUDGET = Budget(mean_mm=1.0, p99_mm=5.0, max_mm=20.0, slope_mm_per_1000=0.1, mpjpe_loss_mm=0.5)


def budget_for(mean_mm: float) -> Budget:
    """The budget with that mean drift: p99 and maximum in the default's proportion, growth and accuracy as by default."""
    factor = mean_mm / DEFAULT_BUDGET.mean_mm
    return DEFAULT_BUDGET.model_copy(
        update={"mean_mm": mean_mm, "p99_mm": factor * DEFAULT_BUDGET.p99_mm, "max_mm": factor * DEFAULT_BUDGET.max_mm}
    )


def frame_limits(budget: Budget) -> Budget:
    """The budget without its limits on growth and accuracy, which short streams cannot show."""
    return budget.model_copy(update={"slope_mm_per_1000": float("inf"), "mpjpe_loss_mm": None})


def drift_mm(poses: F32, reference: F32) -> F64:
    """(..., J) distance of each joint from the reference's, in millimetres, of (..., J, 3 or 4) poses in metres."""
    difference = poses[..., :3].astype(np.float64) - reference[..., :3].astype(np.float64)
    return 1000 * np.linalg.norm(difference, axis=-1)  # type: ignore[no-any-return]


def summarise_drift(
    drift: F64, *, before: Accuracy | None = None, after: Accuracy | None = None
) -> tuple[Budget, SlopeInterval | None]:
    """A drift in the terms of a budget, and the confidence interval of its slope.

    The slope is that of the mean drift of each frame over all streams: an error that builds up in the state has one, rounding
    has none.

    Args:
        drift: (S, T, J) mm of S streams.
        before, after: the reference's accuracy, and the graph's.
    """
    per_1000, interval = fit_slope(drift.mean(axis=(0, 2)))
    measured = Budget(
        mean_mm=float(drift.mean()),
        p99_mm=float(np.percentile(drift, 99)),
        max_mm=float(drift.max()),
        slope_mm_per_1000=per_1000,
        mpjpe_loss_mm=after.mpjpe_mm - before.mpjpe_mm if before and after else None,
    )
    return measured, interval


def smallest_budget(measured: Budget) -> Budget:
    """The tightest budget of two digits that the drift passes."""
    return Budget.model_validate({field: _rounded_up(getattr(measured, field)) for field in Budget.model_fields})


def _rounded_up(value: float | None) -> float | None:
    """Rounded up to two significant digits; what does not grow gets 0, and NaN stays NaN."""
    if value is None or not value > 0:
        return value if value is None or value != value else 0.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    up = float(f"{np.ceil(value / unit) * unit:.6g}")
    return up if up >= value else float(f"{(np.ceil(value / unit) + 1) * unit:.6g}")
