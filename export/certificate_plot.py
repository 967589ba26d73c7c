"""The certificate as a picture: what an engineer reads at a glance."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..calib.measure.disturbances import OUTLIER_FRAMES, RECOVERED_MM
from ..runtime.artefact.certificate import Certificate, Drift, Recovery
from ..runtime.plotting import Lines, draw_lines

LEAST_MM = 1e-6  # what is nearer is drawn there: a logarithm has no zero
LONGEST_KEY = 30  # characters
PYTORCH = "PyTorch"
COLUMNS = ("", "verdict", "mean mm", "p99 mm", "max mm", "per 1,000 frames", "MPJPE mm", "forgets an outlier in")

Floats = NDArray[np.float64]


def draw_certificate(path: Path | BinaryIO, certificate: Certificate) -> None:
    """The verdict and its figures, the drift over time, and how an outlier is forgotten."""
    drifts = certificate.by_name
    plots = [_course(certificate, drifts)]
    if certificate.reference_recoveries:
        plots.append(_outlier(certificate, drifts))
    draw_lines(
        path,
        plots,
        heading=f"{certificate.preset}: drift certificate {'PASSED' if certificate.passed else 'FAILED'}",
        note=_note(certificate),
        table=[COLUMNS, *(_row(certificate, name, drift) for name, drift in drifts.items())],
    )


def _note(certificate: Certificate) -> str:
    motion = certificate.motion
    rates = ", ".join(f"{one.fps:g} Hz" + (f" ({one.lost:.0%} lost)" if one.lost else "") for one in motion.streams)
    return f"distance from {certificate.reference}: {motion.frames:,} frames of {motion.kind.partition(',')[0]} at {rates}"


def _row(certificate: Certificate, name: str, drift: Drift) -> tuple[str, ...]:
    measured, before, after = drift.measured, certificate.reference_accuracy, drift.accuracy
    slope = f"{measured.slope_mm_per_1000:+.1g}"
    if drift.slope:
        slope += f" ± {(drift.slope.high - drift.slope.low) / 2:.1g}"
    forgets = "-"
    if certificate.reference_recoveries:
        forgets = (
            f"{_after(_outlier_of(drift.recoveries))} frames (PyTorch {_after(_outlier_of(certificate.reference_recoveries))})"
        )
    return (
        name,
        "passed" if drift.passed else "FAILED",
        *(f"{value:.2g}" for value in (measured.mean_mm, measured.p99_mm, measured.max_mm)),
        slope,
        f"{before.mpjpe_mm:.2f} → {after.mpjpe_mm:.2f}" if before and after else "-",
        forgets,
    )


def _course(certificate: Certificate, drifts: dict[str, Drift]) -> Lines:
    points = len(certificate.drifts[0].drift_curve_mm)
    return Lines(
        x=(np.arange(points) + 0.5) * certificate.motion.frames / points,
        y={name: _visible(drift.drift_curve_mm) for name, drift in drifts.items()},
        title="Drift, each side with its own state",
        x_label="frame of each stream",
        y_label="mean of the joints (mm)",
        limit=certificate.budget.mean_mm,
        limit_label="budget",
        log=True,
        key=_fits(drifts),
    )


def _outlier(certificate: Certificate, drifts: dict[str, Drift]) -> Lines:
    sides = {name: drift.recoveries for name, drift in drifts.items()} | {PYTORCH: certificate.reference_recoveries}
    outliers = {name: _outlier_of(recoveries) for name, recoveries in sides.items()}
    points, frames = len(outliers[PYTORCH].distance_mm), outliers[PYTORCH].frames + OUTLIER_FRAMES
    return Lines(
        x=np.arange(points) * frames / points,
        y={name: _visible(one.distance_mm) for name, one in outliers.items()},
        title=f"After {OUTLIER_FRAMES} wrong frames",
        x_label="frames since the first of them",
        y_label="from the undisturbed pose (mm)",
        limit=RECOVERED_MM,
        limit_label="forgotten",
        log=True,
        dashed=(PYTORCH,),
        key=_fits(drifts),
    )


def _fits(drifts: dict[str, Drift]) -> bool:
    """Whether there is room for the names beside a title; the table has them anyway."""
    return sum(map(len, drifts)) <= LONGEST_KEY


def _outlier_of(recoveries: Iterable[Recovery]) -> Recovery:
    return next(one for one in recoveries if one.disturbance == "outlier")


def _after(one: Recovery) -> str:
    return f"> {one.frames}" if one.recovery_frames is None else str(one.recovery_frames)


def _visible(distances_mm: Iterable[float]) -> Floats:
    return np.maximum(np.fromiter(distances_mm, np.float64), LEAST_MM)
