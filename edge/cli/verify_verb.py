"""posemoe-edge verify"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.artefact.certificate import CERTIFICATE_PLOT, Accuracy, Budget, Recovery, SlopeInterval
from ...runtime.artefact.locate import DEFAULT_MODEL
from ...runtime.artefact.manifest import read_manifest
from ...runtime.artefact.precision import Precision
from ...runtime.errors import missing_extra
from .motion import choose_motion
from .output import Output, Result, verb

if TYPE_CHECKING:
    from ...runtime.artefact.certificate import Certificate, Drift


@click.command("verify")
@click.argument("artefact", type=click.Path(path_type=Path), default=DEFAULT_MODEL)
@click.option(
    "--data", type=click.Path(path_type=Path, dir_okay=False), help="Motion capture (.npz); its test split is lifted."
)
@click.option(
    "--frames", type=click.IntRange(min=2), default=3000, show_default=True, help="Of each stream, its state carried through."
)
@click.option("--streams", type=click.IntRange(min=1), default=4, show_default=True, help="People, at different frame rates.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of people, cameras and noise.")
@click.option("--engine", help="What executes the graphs.  [default: onnxruntime, on the CPU]")
@click.option("--precision", multiple=True, help="Measure this graph alone; may be given more than once.")
@click.option("--mean-mm", type=click.FloatRange(min=0), help="Budget: mean drift.  [default: 1]")
@click.option("--p99-mm", type=click.FloatRange(min=0), help="Budget: 99th percentile.  [default: 5]")
@click.option("--max-mm", type=click.FloatRange(min=0), help="Budget: worst joint of all frames.  [default: 20]")
@click.option("--slope-mm", type=click.FloatRange(min=0), help="Budget: growth per 1,000 frames.  [default: 0.1]")
@click.option("--mpjpe-mm", type=click.FloatRange(min=0), help="Budget: what MPJPE may lose.  [default: 0.5]")
@verb
def command(
    out: Output,
    artefact: Path,
    data: Path | None,
    frames: int,
    streams: int,
    seed: int,
    engine: str | None,
    precision: tuple[Precision, ...],
    mean_mm: float | None,
    p99_mm: float | None,
    max_mm: float | None,
    slope_mm: float | None,
    mpjpe_mm: float | None,
) -> Result:
    """Certify ARTEFACT: its drift from PyTorch in millimetres, closed loop, each side with its own state."""
    try:
        from ...calib.measure.budget import DEFAULT_BUDGET
        from ...export.verify import frames_to_lift, verify
        from ..checkpoints import load_reference
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "verifying against PyTorch") from None
    given = {
        "mean_mm": mean_mm,
        "p99_mm": p99_mm,
        "max_mm": max_mm,
        "slope_mm_per_1000": slope_mm,
        "mpjpe_loss_mm": mpjpe_mm,
    }
    budget = DEFAULT_BUDGET.model_copy(update={name: value for name, value in given.items() if value is not None})
    manifest = read_manifest(artefact)
    chosen = tuple(manifest.graph(name).precision for name in dict.fromkeys(precision))
    if not manifest.metric:
        out.warn(f"poses are in {manifest.units}: a millimetre below is a thousandth of that")
    recordings, motion = choose_motion(out, data, frames=frames, streams=streams, seed=seed)
    out.print(f"Verifying {artefact} against PyTorch: {streams} streams of {frames} frames, {motion.kind}")
    started = time.monotonic()
    with out.progress("lifting", total=frames_to_lift(manifest, recordings, chosen)) as tick:
        certificate = verify(
            artefact, load_reference, recordings, motion, budget=budget, engine=engine, precisions=chosen, tick=tick
        )
    tell(out, certificate)
    out.print(f"Wrote {artefact / 'certificate.json'} and {artefact / CERTIFICATE_PLOT} in {time.monotonic() - started:.1f} s")
    next_command = f"posemoe-edge {'run synthetic://walk --model' if certificate.passed else 'inspect'} {artefact}"
    return Result(certificate.model_dump(mode="json"), exit_code=0 if certificate.passed else 1, next_command=next_command)


def tell(out: Output, certificate: Certificate) -> None:
    """The certificate, for people."""
    _tell_drift(out, certificate)
    if certificate.reference_accuracy:
        _tell_accuracy(out, certificate, certificate.reference_accuracy)
    if certificate.reference_recoveries:
        _tell_recoveries(out, certificate)
    for drift in certificate.drifts:
        where = f"{drift.precision} on {drift.engine}"
        if drift.passed:
            out.print(f"PASSED {where}: {drift.frames} frames of each stream; {_growth(drift)}")
        else:
            out.print(f"FAILED {where}: {', '.join(drift.exceeded)}")
        tight = drift.smallest_budget
        if not math.isfinite(tight.max_mm):
            out.print("  no budget would do: the poses are not finite")
            continue
        accurate = "" if tight.mpjpe_loss_mm is None else f" --mpjpe-mm {tight.mpjpe_loss_mm:g}"
        out.print(
            f"  the smallest budget it passes: --mean-mm {tight.mean_mm:g} --p99-mm {tight.p99_mm:g} "
            f"--max-mm {tight.max_mm:g} --slope-mm {tight.slope_mm_per_1000:g}{accurate}"
        )


def _tell_drift(out: Output, certificate: Certificate) -> None:
    wide = _wide(certificate)
    out.print(f"{'drift':<{wide + 2}}{'mean':>11}{'p99':>11}{'max':>11}{'per 1,000 frames (95 %)':>36}")
    rows: list[tuple[str, Budget, SlopeInterval | None]] = [("budget", certificate.budget, None)]
    rows += [(name, drift.measured, drift.slope) for name, drift in certificate.by_name.items()]
    for name, row, slope in rows:
        sizes = "".join(f"{value:>8.2g} mm" for value in (row.mean_mm, row.p99_mm, row.max_mm))
        interval = f" ({slope.low:+.2g} to {slope.high:+.2g})" if slope else ""
        out.print(f"  {name:<{wide}}{sizes}{f'{row.slope_mm_per_1000:+.2g} mm' + interval:>36}")


def _tell_accuracy(out: Output, certificate: Certificate, before: Accuracy) -> None:
    wide = _wide(certificate)
    out.print(f"{'accuracy':<{wide + 2}}{'MPJPE':>11}{'lost':>14}{'MPJVE':>17}{'bone jitter':>17}")
    allowed = certificate.budget.mpjpe_loss_mm
    if allowed is not None:
        out.print(f"  {'budget':<{wide}}{'':>11}{f'{allowed:+.2g} mm':>14}")
    rows = [("PyTorch", before), *((name, drift.accuracy) for name, drift in certificate.by_name.items())]
    for name, row in rows:
        if row:
            lost = "" if row is before else f"{row.mpjpe_mm - before.mpjpe_mm:+.2g} mm"
            per_frame = "".join(f"{value:>8.2f} mm/frame" for value in (row.mpjve_mm, row.bone_jitter_mm))
            out.print(f"  {name:<{wide}}{row.mpjpe_mm:>8.2f} mm{lost:>14}{per_frame}")


def _tell_recoveries(out: Output, certificate: Certificate) -> None:
    wide = _wide(certificate)
    sides = {"PyTorch": certificate.reference_recoveries}
    sides |= {name: drift.recoveries for name, drift in certificate.by_name.items()}
    out.print("after an event: farthest from the undisturbed pose, frames until it stays within 1 mm of it")
    out.print(f"  {'':<{wide}}" + "".join(f"{one.disturbance:>20}" for one in certificate.reference_recoveries))
    for name, recoveries in sides.items():
        out.print(f"  {name:<{wide}}" + "".join(f"{_recovered(one):>20}" for one in recoveries))
    out.print("  drift meanwhile, mean and max")
    for name, drift in certificate.by_name.items():
        cells = (f"{one.drift_mean_mm:.2g}, {one.drift_max_mm:.2g} mm" for one in drift.recoveries)
        out.print(f"  {name:<{wide}}" + "".join(f"{cell:>20}" for cell in cells))


def _wide(certificate: Certificate) -> int:
    """Room for the names of rows."""
    return max(10, *(len(name) + 1 for name in certificate.by_name))


def _recovered(one: Recovery) -> str:
    after = f"> {one.frames}" if one.recovery_frames is None else str(one.recovery_frames)
    return f"{one.peak_mm:.3g} mm, {after}"


def _growth(drift: Drift) -> str:
    if drift.slope is None:
        return "too few to tell whether the drift grows"
    if not drift.slope.distinct:
        return "no growth to be told from zero"
    return "the drift rises over these frames" if drift.slope.low > 0 else "the drift falls over these frames"
