"""posemoe-edge demo"""

from __future__ import annotations

import time
from pathlib import Path

import click

from ...runtime.artefact.certificate import REFERENCE
from ...runtime.artefact.locate import DEFAULT_MODEL, ZOO
from ...runtime.command_line import command_line
from ...runtime.errors import missing_extra
from ...runtime.model import load
from ...runtime.pipeline import Pipeline
from ...runtime.sinks import open_sinks
from .certificate_report import inspect_command, report_certificate
from .motion import choose_motion
from .options import FILE, FOLDER
from .output import Output, Result, megabytes, verb
from .run_pipeline import run_pipeline

CLIP = "synthetic://walk?people=1&noise=2"
WALK_FRAMES = 300
STREAMS = 2


@click.command("demo")
@click.option(
    "--out",
    type=FOLDER,
    default=Path("demo"),
    show_default=True,
    help="The folder to write to.",
)
@click.option(
    "--data",
    type=FILE,
    help="Motion capture (.npz) to certify on.  [default: procedural walkers]",
)
@click.option(
    "--frames", type=click.IntRange(min=2), default=1000, show_default=True, help="Frames of each person to certify on."
)
@verb
def command(output: Output, out: Path, data: Path | None, frames: int) -> Result:
    """Export the default model, certify it, lift a walking person, and draw the poses."""
    try:
        from ...export.artefact import export
        from ...export.verify import frames_to_lift, verify
        from ..checkpoints import load_checkpoint, load_reference
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "the demo's export") from None
    out.mkdir(parents=True, exist_ok=True)
    folder = out / DEFAULT_MODEL
    started = time.monotonic()

    output.print(f"1. Export {DEFAULT_MODEL}: PyTorch -> ONNX, fp32 and fp16")
    network, record = load_checkpoint(ZOO / DEFAULT_MODEL / REFERENCE)
    with output.console.status("  tracing ..."):
        manifest = export(
            network, folder, preset=DEFAULT_MODEL, precisions=("fp16",), training=record["training"], on_stage=output.stage
        )

    recordings, motion = choose_motion(output, data, frames=frames, streams=STREAMS, seed=0)
    output.print(
        f"2. Certify: {STREAMS} streams of {frames} frames, {motion.kind}, against PyTorch, each side with its own state"
    )
    stage_started = time.monotonic()
    with output.progress("lifting", total=frames_to_lift(manifest, recordings)) as on_progress:
        certificate = verify(folder, load_reference, recordings, motion, on_progress=on_progress)
    output.stage("certificate", time.monotonic() - stage_started)
    report_certificate(output, certificate)

    output.print(f"3. Run {CLIP}: one frame in, one pose out")
    stage_started = time.monotonic()
    model = load(folder, allow_failed=True)
    picture, poses = out / "walk.png", out / "walk.jsonl"
    pipeline = Pipeline(CLIP, model, frames=WALK_FRAMES)
    stats = run_pipeline(output, pipeline, open_sinks([f"png:{picture}", f"jsonl:{poses}"]), total=WALK_FRAMES).to_json()
    output.stage(f"{WALK_FRAMES} frames", time.monotonic() - stage_started, poses.stat().st_size)
    output.print(
        f"  a step took {stats['step_ms']['p50']:.2f} ms (median) on {model.engine}; state {megabytes(model.state_bytes)}"
    )

    verdict = "PASSED" if certificate.passed else "FAILED"
    seconds = time.monotonic() - started
    output.print(
        f"\nThe certificate {verdict}; the walk was lifted with {stats['mpjpe_mm']:.1f} mm MPJPE; all in {seconds:.0f} s."
    )
    output.print(f"Picture: {picture}")
    result = {
        "artefact": str(folder),
        "certificate": {
            "passed": certificate.passed,
            "path": str(folder / "certificate.json"),
            "motion": motion.kind,
            "frames": frames,
        },
        "run": {**stats, "shadow": None},
        "picture": str(picture),
        "poses": str(poses),
        "seconds": round(seconds, 1),
    }
    return Result(
        result,
        exit_code=0 if certificate.passed else 1,
        next_command=inspect_command(folder, certificate) or command_line("run", "camera0", "--model", folder),
    )
