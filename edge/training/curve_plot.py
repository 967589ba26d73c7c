"""The plots of a training: loss and validation error over the updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...runtime.arrays import F64
from ...runtime.plotting import Lines

WIDE = 2.0
"""An axis is logarithmic if the largest value is so many times the smallest: the first ones would squeeze the rest."""


def curve_plots(curve: Sequence[Sequence[float | None]]) -> list[Lines]:
    """Loss and, if there are any, validation errors, the best of them marked.

    Args:
        curve: [updates, smoothed loss, validation MPJPE in mm or None] of each save, as ``TrainingHistory`` has them.
    """
    updates, losses, errors_mm = np.array(
        [[np.nan if value is None else value for value in row] for row in curve], np.float64
    ).T
    # The loss adds distances, velocities and logarithms, each with a weight.
    plots = [_over_updates(updates, losses, "loss (weighted sum, no unit)", title="Training")]
    if np.isfinite(errors_mm).any():
        best = int(np.nanargmin(errors_mm))
        text = f"best: {errors_mm[best]:.1f} mm at update {updates[best]:,.0f}"
        plot = _over_updates(updates, errors_mm, "MPJPE (mm)", title="Validation")
        plots.append(replace(plot, points={text: (updates[best], errors_mm[best])}))
    return plots


def _over_updates(updates: F64, values: F64, label: str, *, title: str) -> Lines:
    known = values[np.isfinite(values)]
    log = bool(len(known) and 0 < WIDE * known.min() < known.max())
    y = {label.partition(" ")[0]: values}
    return Lines(x=updates, y=y, title=title, x_label="length of the training (updates)", y_label=label, log=log, measured=True)
