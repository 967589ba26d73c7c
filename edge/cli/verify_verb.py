"""posemoe-edge verify"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.certificate import CERTIFICATE_PLOT, Budget
from ...runtime.errors import missing_extra
from ...runtime.manifest import read_manifest
from ...runtime.model import DEFAULT_MODEL
from .motion import choose_motion
from .output import Output, Result, verb

if TYPE_CHECKING:
    from ...runtime.certificate import Certificate


@click.command("verify")
@click.argument("artefact", type=click.Path(path_type=Path), default=DEFAULT_MODEL)
@click.option(
    "--data", type=click.Path(path_type=Path, dir_okay=False), help="Motion capture (.npz); its test split is lifted."
)
@click.option(
    "--frames", type=click.IntRange(min=2), default=3000, show_default=True, help="Consecutive frames, state carried through."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of cameras and noise.")
@click.option("--mean-mm", type=click.FloatRange(min=0), help="Budget: mean drift.  [default: 1]")
@click.option("--p99-mm", type=click.FloatRange(min=0), help="Budget: 99th percentile.  [default: 5]")
@click.option("--max-mm", type=click.FloatRange(min=0), help="Budget: worst joint of all frames.  [default: 20]")
@click.option("--slope-mm", type=click.FloatRange(min=0), help="Budget: growth per 1,000 frames.  [default: 0.1]")
@verb
def command(
    out: Output,
    artefact: Path,
    data: Path | None,
    frames: int,
    seed: int,
    mean_mm: float | None,
    p99_mm: float | None,
    max_mm: float | None,
    slope_mm: float | None,
) -> Result:
    """Certify ARTEFACT: its drift from PyTorch in millimetres, closed loop, each side with its own state."""
    try:
        from ...calib.budget import DEFAULT_BUDGET
        from ...export.verify import verify
        from ..checkpoints import load_reference
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "verifying against PyTorch") from None
    given = {"mean_mm": mean_mm, "p99_mm": p99_mm, "max_mm": max_mm, "slope_mm_per_1000": slope_mm}
    budget = DEFAULT_BUDGET.model_copy(update={name: value for name, value in given.items() if value is not None})
    manifest = read_manifest(artefact)
    graphs = manifest.graphs
    if not manifest.metric:
        out.warn(f"poses are in {manifest.units}: a millimetre below is a thousandth of that")
    recording, motion = choose_motion(out, data, frames=frames, seed=seed)
    out.say(f"Verifying {artefact} against PyTorch on {frames} frames of {motion.kind}")
    started = time.monotonic()
    with out.progress("lifting", total=frames * (len(graphs) + 1)) as tick:
        certificate = verify(artefact, load_reference, recording, motion, budget=budget, tick=tick)
    tell(out, certificate)
    out.say(f"Wrote {artefact / 'certificate.json'} and {artefact / CERTIFICATE_PLOT} in {time.monotonic() - started:.1f} s")
    next_command = f"posemoe-edge {'run synthetic://walk --model' if certificate.passed else 'inspect'} {artefact}"
    return Result(certificate.model_dump(mode="json"), exit_code=0 if certificate.passed else 1, next_command=next_command)


def tell(out: Output, certificate: Certificate) -> None:
    """The certificate, for people."""
    out.say(f"{'':<12}{'mean':>11}{'p99':>11}{'max':>11}{'per 1,000 frames':>18}")
    rows: list[tuple[str, Budget]] = [("budget", certificate.budget)]
    rows += [(drift.precision, drift.measured) for drift in certificate.drifts]
    for name, row in rows:
        sizes = "".join(f"{value:>8.2g} mm" for value in (row.mean_mm, row.p99_mm, row.max_mm))
        out.say(f"  {name:<10}{sizes}{row.slope_mm_per_1000:>+15.2g} mm")
    for drift in certificate.drifts:
        if drift.passed:
            out.say(f"PASSED {drift.precision}: {drift.frames} frames")
        else:
            out.say(f"FAILED {drift.precision}: {', '.join(drift.exceeded)}")
        tight = drift.smallest_budget
        out.say(
            f"  the smallest budget it passes: --mean-mm {tight.mean_mm:g} --p99-mm {tight.p99_mm:g} "
            f"--max-mm {tight.max_mm:g} --slope-mm {tight.slope_mm_per_1000:g}"
        )
