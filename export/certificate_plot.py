"""The plot of a certificate: verdict, figures, drift over time, and recovery from an outlier."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..calib.measure.disturbances import OUTLIER_FRAMES, RECOVERED_MM
from ..runtime.arrays import F64
from ..runtime.artefact.certificate import Certificate, Drift, Recovery
from ..runtime.plotting import Cell, Lines, Verdict, draw_lines

SMALLEST_MM = 1e-6  # smaller distances are drawn there: a logarithmic axis has no zero
LONGEST_LEGEND = 30  # characters
PYTORCH = "PyTorch"
COLUMNS = (
    "",
    "verdict",
    "mean\n(mm)",
    "p99\n(mm)",
    "max\n(mm)",
    "growth in 1,000\nframes (mm)",
    "MPJPE\n(mm)",
    "frames until an outlier\nis forgotten (PyTorch)",
)


def draw_certificate(path: Path | BinaryIO, certificate: Certificate) -> None:
    """Draw the verdict and its figures, the drift over time, and the recovery from an outlier, as a PNG."""
    drifts = certificate.by_name
    plots = [_drift_over_time(certificate, drifts)]
    if certificate.reference_recoveries:
        plots.append(_outlier_recovery(certificate, drifts))
    draw_lines(
        path,
        plots,
        heading=f"{certificate.preset}: drift certificate",
        verdict=Verdict(certificate.passed),
        note=_note(certificate),
        table=[COLUMNS, *(_row(certificate, name, drift) for name, drift in drifts.items())],
    )


def _note(certificate: Certificate) -> str:
    """What was compared with what, on which motion."""
    motion = certificate.motion
    rates = ", ".join(f"{stream.fps:g} Hz" + (f" ({stream.lost:.0%} lost)" if stream.lost else "") for stream in motion.streams)
    return f"distance from {certificate.reference}: {motion.frames:,} frames of {motion.kind.partition(',')[0]} at {rates}"


def _row(certificate: Certificate, name: str, drift: Drift) -> tuple[Cell, ...]:
    """One graph's row of the table, in the order of ``COLUMNS``."""
    measured, before, after = drift.measured, certificate.reference_accuracy, drift.accuracy
    slope = f"{measured.slope_mm_per_1000:+.1g}"
    if drift.slope:
        slope += f" ± {(drift.slope.high - drift.slope.low) / 2:.1g}"
    recovery = "-"
    if certificate.reference_recoveries:
        graph, reference = (_frames_of(_outlier(side)) for side in (drift.recoveries, certificate.reference_recoveries))
        recovery = f"{graph} ({reference})"
    return (
        name,
        Verdict(drift.passed),
        *(f"{value:.2g}" for value in (measured.mean_mm, measured.p99_mm, measured.max_mm)),
        slope,
        f"{before.mpjpe_mm:.2f} → {after.mpjpe_mm:.2f}" if before and after else "-",
        recovery,
    )


def _drift_over_time(certificate: Certificate, drifts: dict[str, Drift]) -> Lines:
    points = len(certificate.drifts[0].drift_curve_mm)
    return Lines(
        x=(np.arange(points) + 0.5) * certificate.motion.frames / points,
        y={name: _for_log_axis(drift.drift_curve_mm) for name, drift in drifts.items()},
        title="Distance from PyTorch, each side with its own state",
        x_label="age of the stream (frames)",
        y_label="mean over joints (mm)",
        limits={"budget": certificate.budget.mean_mm},
        log=True,
        key=_legend_fits(drifts),
    )


def _outlier_recovery(certificate: Certificate, drifts: dict[str, Drift]) -> Lines:
    sides = {name: drift.recoveries for name, drift in drifts.items()} | {PYTORCH: certificate.reference_recoveries}
    outliers = {name: _outlier(recoveries) for name, recoveries in sides.items()}
    points, frames = len(outliers[PYTORCH].distance_mm), outliers[PYTORCH].frames + OUTLIER_FRAMES
    return Lines(
        x=np.arange(points) * frames / points,
        y={name: _for_log_axis(outlier.distance_mm) for name, outlier in outliers.items()},
        title=f"Distance from the undisturbed pose after {OUTLIER_FRAMES} wrong frames",
        x_label="time since the first of them (frames)",
        y_label="mean over joints (mm)",
        limits={"recovered": RECOVERED_MM},
        log=True,
        behind=(PYTORCH,),
        key=_legend_fits(drifts),
    )


def _legend_fits(drifts: dict[str, Drift]) -> bool:
    """Whether the names fit beside the title of a plot; the table shows them anyway."""
    return sum(map(len, drifts)) <= LONGEST_LEGEND


def _outlier(recoveries: Iterable[Recovery]) -> Recovery:
    return next(recovery for recovery in recoveries if recovery.disturbance == "outlier")


def _frames_of(recovery: Recovery) -> str:
    return f"> {recovery.frames}" if recovery.recovery_frames is None else str(recovery.recovery_frames)


def _for_log_axis(distances_mm: Iterable[float]) -> F64:
    return np.maximum(np.fromiter(distances_mm, np.float64), SMALLEST_MM)
