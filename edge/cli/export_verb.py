"""posemoe-edge export"""

from __future__ import annotations

import time
from pathlib import Path

import click

from ...runtime.certificate import REFERENCE
from ...runtime.errors import UsageError, missing_extra
from ...runtime.model import DEFAULT_MODEL, ZOO
from .output import Output, Result, megabytes, verb


@click.command("export")
@click.argument("preset", required=False)
@click.option(
    "--precision",
    multiple=True,
    type=click.Choice(["fp32", "fp16"]),
    default=("fp32",),
    show_default=True,
    help="fp16 adds a half-precision graph to the fp32 one. May be given more than once.",
)
@click.option(
    "--chunk",
    type=click.IntRange(min=2),
    help="Graphs that take so many frames at once; poses come so many less one late. For lifters that carry a state.",
)
@click.option(
    "--weights", type=click.Path(path_type=Path), help="A .safetensors of `train` or `import`; default: the shipped ones."
)
@click.option("--untrained", is_flag=True, help="Random weights: to try a preset that has none yet.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="The folder; default: ./PRESET.")
@verb
def command(
    out_: Output,
    preset: str | None,
    precision: tuple[str, ...],
    chunk: int | None,
    weights: Path | None,
    untrained: bool,
    out: Path | None,
) -> Result:
    """Write PRESET's artefact: ONNX graphs, manifest, reference weights. Default: the preset of the weights."""
    if weights and untrained:
        raise UsageError("--weights and --untrained", expected="one of them")
    started = time.monotonic()
    try:
        from ...export.artefact import export
        from ..checkpoints import load_checkpoint
        from ..presets import find_preset
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "exporting") from None
    if untrained:
        preset = preset or DEFAULT_MODEL
        model, training = find_preset(preset).build().eval(), {"untrained": True}
    else:
        named = find_preset(preset) if preset else None
        source = weights or ZOO / (preset or DEFAULT_MODEL) / REFERENCE
        if not weights and not source.is_file():
            raise UsageError(
                f"{preset} has no shipped weights yet",
                expected="--weights FILE or --untrained",
                run=f"posemoe-edge export {preset} --untrained, or train it, or import official weights",
            )
        model, record = load_checkpoint(source)
        if named and not named.fits(model.config):
            raise UsageError(f"{source} holds weights of {record['preset']}", expected=f"weights of {preset}")
        preset, training = preset or str(record["preset"]), record["training"]
    folder = out or Path(preset)
    if model.config.units != "metres":
        out_.warn("these weights answer in image units, as published: multiply by half the picture's width, and by a scale")
    out_.say(f"Exporting {preset} ({sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters) to {folder}")
    out_.stage("loading", time.monotonic() - started)
    with out_.console.status("  tracing ..."):
        manifest = export(
            model,
            folder,
            preset=preset,
            precisions=precision,  # type: ignore[arg-type]
            chunk=chunk,
            training=training,
            stage=out_.stage,
        )
    seconds, size = time.monotonic() - started, sum(record.bytes for record in manifest.files.values())
    out_.say(f"Wrote {folder} in {seconds:.1f} s: {len(manifest.files)} files, {megabytes(size)}")
    out_.say(f"A stream's state is {megabytes(manifest.state_bytes)}")
    data = {
        "artefact": str(folder),
        "preset": preset,
        "mode": manifest.mode,
        "latency_frames": manifest.latency_frames,
        "precisions": [graph.precision for graph in manifest.graphs],
        "params": manifest.parameters,
        "state_bytes": manifest.state_bytes,
        "files": {name: record.bytes for name, record in manifest.files.items()},
        "seconds": round(seconds, 2),
    }
    return Result(data, next_command=f"posemoe-edge verify {folder}")
