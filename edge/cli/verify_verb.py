"""posemoe-edge verify"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from ...runtime.artefact.certificate import CERTIFICATE, CERTIFICATE_PLOT
from ...runtime.artefact.locate import DEFAULT_MODEL
from ...runtime.artefact.manifest import read_manifest
from ...runtime.artefact.precision import Precision
from ...runtime.command_line import command_line
from ...runtime.errors import UsageError, missing_extra
from .certificate_report import inspect_command, report_certificate
from .motion import choose_motion
from .options import FILE
from .output import Output, Result, counted, verb
from .replay_verb import replay_recording


@click.command("verify")
@click.argument("artefact", type=click.Path(path_type=Path), default=DEFAULT_MODEL)
@click.option(
    "--data",
    type=FILE,
    help="Motion capture (.npz) whose test split is lifted.  [default: procedural walkers]",
)
@click.option(
    "--frames",
    type=click.IntRange(min=2),
    default=3000,
    show_default=True,
    help="Frames of each stream; the state is carried from the first to the last.",
)
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Number of people to lift, at different frame rates.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of people, cameras and noise.")
@click.option("--engine", help="The engine that runs the graphs.  [default: onnxruntime, on the CPU]")
@click.option("--precision", multiple=True, help="Measure only this graph; repeatable.  [default: all graphs]")
@click.option("--mean-mm", type=click.FloatRange(min=0), help="Budget, mm: mean drift.  [default: 1]")
@click.option("--p99-mm", type=click.FloatRange(min=0), help="Budget, mm: 99th percentile of the drift.  [default: 5]")
@click.option(
    "--max-mm", type=click.FloatRange(min=0), help="Budget, mm: largest drift of any joint in any frame.  [default: 20]"
)
@click.option(
    "--slope-mm", type=click.FloatRange(min=0), help="Budget, mm: growth of the mean drift per 1,000 frames.  [default: 0.1]"
)
@click.option("--mpjpe-mm", type=click.FloatRange(min=0), help="Budget, mm: increase of the MPJPE.  [default: 0.5]")
@click.option(
    "--replay", help="Lift this recording of run again instead, as the verb replay does; only --engine and --precision apply."
)
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
    replay: str | None,
) -> Result:
    """Certify ARTEFACT: its drift from PyTorch in millimetres, closed loop, each side with its own state."""
    if replay is not None:
        return _replayed(out, replay, artefact, engine=engine, precision=precision)
    try:
        from ...calib.measure.budget import DEFAULT_BUDGET
        from ...export.verify import frames_to_lift, verify
        from ..checkpoints import load_reference
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "verifying against PyTorch") from None
    limits = {
        "mean_mm": mean_mm,
        "p99_mm": p99_mm,
        "max_mm": max_mm,
        "slope_mm_per_1000": slope_mm,
        "mpjpe_loss_mm": mpjpe_mm,
    }
    budget = DEFAULT_BUDGET.model_copy(update={name: value for name, value in limits.items() if value is not None})
    manifest = read_manifest(artefact)
    selected = tuple(manifest.graph(name).precision for name in dict.fromkeys(precision))
    if not manifest.metric:
        out.warn(f"poses are in {manifest.units}: 1 mm below means a thousandth of that")
    recordings, motion = choose_motion(out, data, frames=frames, streams=streams, seed=seed)
    out.print(
        f"Verifying {artefact} against PyTorch: {counted(streams, 'stream')} of {counted(frames, 'frame')}, {motion.kind}"
    )
    started = time.monotonic()
    with out.progress("lifting", total=frames_to_lift(manifest, recordings, selected)) as on_progress:
        certificate = verify(
            artefact,
            load_reference,
            recordings,
            motion,
            budget=budget,
            engine=engine,
            precisions=selected,
            on_progress=on_progress,
        )
    report_certificate(out, certificate)
    out.print(f"Wrote {artefact / CERTIFICATE} and {artefact / CERTIFICATE_PLOT} in {time.monotonic() - started:.1f} s")
    return Result(
        certificate.model_dump(mode="json"),
        exit_code=0 if certificate.passed else 1,
        next_command=inspect_command(artefact, certificate) or command_line("run", "synthetic://walk", "--model", artefact),
    )


def _replayed(out: Output, recording: str, artefact: Path, *, engine: str | None, precision: Sequence[Precision]) -> Result:
    """ARTEFACT judged by a recorded run; no certificate is written."""
    context = click.get_current_context()
    given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    others = sorted(set(given) - {"artefact", "engine", "precision", "replay", "as_json", "verbose"})
    if others or len(precision) > 1:
        what = f"--{others[0].replace('_', '-')}" if others else "more than one --precision"
        raise UsageError(f"--replay and {what}", expected="--replay with --engine and one --precision at most")
    return replay_recording(out, recording, model=str(artefact), engine=engine, precision=next(iter(precision), None))
