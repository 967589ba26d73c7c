"""A drift certificate as text, for ``verify``, ``inspect`` and ``demo``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.command_line import command_line
from .output import Output

if TYPE_CHECKING:
    from ...runtime.artefact.certificate import Accuracy, Budget, Certificate, Drift, Recovery, SlopeInterval

HOUR_FRAMES = 180_000  # at 50 Hz
LEAST_GROWTH = 0.1  # in an hour, of the budget's mean drift: less is no growth that matters


def report_certificate(out: Output, certificate: Certificate) -> None:
    """Print drift, accuracy and recoveries of every graph, its verdict, and the smallest budget that it passes."""
    width = max(10, *(len(name) + 1 for name in certificate.by_name))  # of the column of names
    _report_drift(out, certificate, width)
    _report_batches(out, certificate, width)
    if certificate.reference_accuracy:
        _report_accuracy(out, certificate, certificate.reference_accuracy, width)
    if certificate.reference_recoveries:
        _report_recoveries(out, certificate, width)
    for drift in certificate.drifts:
        _report_verdict(out, drift, certificate.budget)


def inspect_command(artefact: Path, certificate: Certificate) -> str | None:
    """The command that looks at the layers of the first graph that failed; None if all passed."""
    failed = next((drift for drift in certificate.drifts if not drift.passed), None)
    if failed is None:
        return None
    if failed.precision != "fp32":
        return command_line("inspect", artefact, "--compare", failed.precision)
    if failed.engine != "onnxruntime":
        return command_line("inspect", artefact, "--compare", failed.engine, "--precision", failed.precision)
    return command_line("inspect", artefact)


def frame_limits_of(budget: Budget) -> tuple[str, ...]:
    """The options of ``verify`` that judge by the budget's limits on the frames' drift."""
    return ("--mean-mm", f"{budget.mean_mm:g}", "--p99-mm", f"{budget.p99_mm:g}", "--max-mm", f"{budget.max_mm:g}")


def _report_drift(out: Output, certificate: Certificate, width: int) -> None:
    out.print(f"{'drift':<{width + 2}}{'mean':>11}{'p99':>11}{'max':>11}{'per 1,000 frames (95 %)':>36}")
    rows: list[tuple[str, Budget, SlopeInterval | None]] = [("budget", certificate.budget, None)]
    rows += [(name, drift.measured, drift.slope) for name, drift in certificate.by_name.items()]
    for name, row, slope in rows:
        sizes = "".join(f" {value:>7.2g} mm" for value in (row.mean_mm, row.p99_mm, row.max_mm))
        interval = f" ({slope.low:+.2g} to {slope.high:+.2g})" if slope else ""
        out.print(f"  {name:<{width}}{sizes} {f'{row.slope_mm_per_1000:+.2g} mm' + interval:>35}")


def _report_batches(out: Output, certificate: Certificate, width: int) -> None:
    """How far a batch moves poses; silent of certificates that did not measure it."""
    differences = {name: drift.batch_difference for name, drift in certificate.by_name.items() if drift.batch_difference}
    for row, (name, of) in enumerate(differences.items()):
        if row == 0:
            out.print(f"a stream in a batch of up to {of.streams}, from the same alone: as above, over {of.frames} frames")
        out.print(f"  {name:<{width}}" + "".join(f" {value:>7.2g} mm" for value in (of.mean_mm, of.p99_mm, of.max_mm)))


def _report_accuracy(out: Output, certificate: Certificate, reference: Accuracy, width: int) -> None:
    out.print(f"{'accuracy':<{width + 2}}{'MPJPE':>11}{'lost':>14}{'MPJVE':>17}{'bone jitter':>17}")
    allowed = certificate.budget.mpjpe_loss_mm
    if allowed is not None:
        out.print(f"  {'budget':<{width}}{'':>11}{f'{allowed:+.2g} mm':>14}")
    rows = [("PyTorch", reference), *((name, drift.accuracy) for name, drift in certificate.by_name.items())]
    for name, row in rows:
        if row:
            loss = "" if row is reference else f"{row.mpjpe_mm - reference.mpjpe_mm:+.2g} mm"
            per_frame = "".join(f" {value:>7.2f} mm/frame" for value in (row.mpjve_mm, row.bone_jitter_mm))
            out.print(f"  {name:<{width}} {row.mpjpe_mm:>7.2f} mm {loss:>13}{per_frame}")


def _report_recoveries(out: Output, certificate: Certificate, width: int) -> None:
    sides = {"PyTorch": certificate.reference_recoveries}
    sides |= {name: drift.recoveries for name, drift in certificate.by_name.items()}
    out.print("after a disturbance: largest distance from the undisturbed pose, frames until it stays below 1 mm")
    out.print(f"  {'':<{width}}" + "".join(f" {recovery.disturbance:>19}" for recovery in certificate.reference_recoveries))
    for name, recoveries in sides.items():
        out.print(f"  {name:<{width}}" + "".join(f" {_recovery(recovery):>19}" for recovery in recoveries))
    out.print("  mean and maximum drift from PyTorch meanwhile")
    for name, drift in certificate.by_name.items():
        cells = (f"{recovery.drift_mean_mm:.2g}, {recovery.drift_max_mm:.2g} mm" for recovery in drift.recoveries)
        out.print(f"  {name:<{width}}" + "".join(f" {cell:>19}" for cell in cells))


def _report_verdict(out: Output, drift: Drift, allowed: Budget) -> None:
    graph = f"{drift.precision} on {drift.engine}"
    if drift.passed:
        out.print(f"PASSED {graph}: {drift.frames} frames of each stream; {_growth(drift, allowed)}")
    else:
        out.failed(f"FAILED {graph}: {', '.join(drift.exceeded)}")
    budget = drift.smallest_budget
    if not math.isfinite(budget.max_mm):
        out.print("  it passes no budget: the poses are not finite")
        return
    accuracy = "" if budget.mpjpe_loss_mm is None else f" --mpjpe-mm {budget.mpjpe_loss_mm:g}"
    out.print(
        f"  the smallest budget it passes: {' '.join(frame_limits_of(budget))} "
        f"--slope-mm {budget.slope_mm_per_1000:g}{accuracy}"
    )


def _recovery(recovery: Recovery) -> str:
    frames = f"> {recovery.frames}" if recovery.recovery_frames is None else str(recovery.recovery_frames)
    return f"{recovery.peak_mm:.3g} mm, {frames}"


def _growth(drift: Drift, budget: Budget) -> str:
    """Whether the drift grows, by an effect that matters: a growth can be certain, and too small to ever be seen."""
    if drift.slope is None:
        return "too few to measure whether the drift grows"
    if not drift.slope.distinct:
        return "no measurable growth"
    in_an_hour_mm = drift.measured.slope_mm_per_1000 * HOUR_FRAMES / 1000
    if abs(in_an_hour_mm) < LEAST_GROWTH * budget.mean_mm:
        return f"no growth that matters: {in_an_hour_mm:+.1g} mm in an hour at 50 Hz"
    return f"the drift {'rises' if in_an_hour_mm > 0 else 'falls'} by {abs(in_an_hour_mm):.2g} mm in an hour at 50 Hz"
