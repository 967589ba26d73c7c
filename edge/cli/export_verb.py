"""posemoe-edge export"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.artefact.certificate import REFERENCE
from ...runtime.artefact.locate import DEFAULT_MODEL, ZOO
from ...runtime.artefact.manifest import read_manifest, replace_files
from ...runtime.artefact.precision import PRECISIONS, source_of
from ...runtime.errors import UsageError, missing_extra
from .calibrate_verb import CHECK_FRAMES, CHECK_STREAMS, FRAMES, STREAMS, calibrate_folder
from .motion import choose_motion
from .output import Output, Result, megabytes, verb

if TYPE_CHECKING:
    from ...calib.quantize.precision_choice import PrecisionChoice


@click.command("export")
@click.argument("preset", required=False)
@click.option(
    "--precision",
    multiple=True,
    type=click.Choice([*PRECISIONS, "auto"]),
    default=("fp32",),
    show_default=True,
    help="What to add to the fp32 graph; may be given more than once. int8 and mixed are calibrated on --data; auto tries all "
    "and keeps the fastest here within the budget.",
)
@click.option(
    "--data", type=click.Path(path_type=Path, dir_okay=False), help="For int8, mixed and auto: motion capture (.npz)."
)
@click.option(
    "--budget-mm",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="For mixed and auto: mean drift that is allowed.",
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
    data: Path | None,
    budget_mm: float,
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
    wanted = set(PRECISIONS) if "auto" in precision else set(precision)
    calibrated = {name for name, row in PRECISIONS.items() if name in wanted and row.needs_motion}
    needed = wanted | {source_of(name) for name in calibrated}
    exported = [name for name in PRECISIONS if name in needed - calibrated]
    chosen: list[PrecisionChoice] = []

    def calibrate_draft(draft: Path) -> None:
        if calibrated:
            calibrate_folder(
                out_,
                draft,
                data,
                streams=STREAMS,
                frames=FRAMES,
                seed=0,
                method="minmax",
                precisions=("int8",),
                budget_mm=budget_mm if "mixed" in wanted else None,
                display_path=folder,
            )
        if "auto" in precision:
            chosen.append(keep_best(out_, draft, data, budget_mm))

    if model.config.units != "metres":
        out_.warn("these weights answer in image units, as published: multiply by half the picture's width, and by a scale")
    out_.print(f"Exporting {preset} ({sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters) to {folder}")
    out_.stage("loading", time.monotonic() - started)
    manifest = export(
        model,
        folder,
        preset=preset,
        precisions=exported,
        chunk=chunk,
        training=training,
        postprocess=calibrate_draft,
        on_stage=out_.stage,
    )
    seconds, size = time.monotonic() - started, sum(record.bytes for record in manifest.files.values())
    out_.print(f"Wrote {folder} in {seconds:.1f} s: {len(manifest.files)} files, {megabytes(size)}")
    for choice in chosen:
        tell_choice(out_, choice)
    out_.print(f"A stream's state is {megabytes(manifest.state_bytes)}")
    report = {
        "artefact": str(folder),
        "preset": preset,
        "mode": manifest.mode,
        "latency_frames": manifest.latency_frames,
        "precisions": [graph.precision for graph in manifest.graphs],
        "params": manifest.parameters,
        "state_bytes": manifest.state_bytes,
        "files": {name: record.bytes for name, record in manifest.files.items()},
        "seconds": round(seconds, 2),
        "choice": chosen[0].model_dump(mode="json") if chosen else None,
    }
    return Result(report, next_command=f"posemoe-edge verify {folder}{f' --data {data}' if data else ''}")


def keep_best(out: Output, folder: Path, data: Path | None, budget_mm: float) -> PrecisionChoice:
    """Try every graph of the artefact on this engine, and leave in it the best one and fp32; the manifest prefers it."""
    from ...calib.measure.budget import budget_for
    from ...calib.quantize.precision_choice import choose_precision

    recordings, _ = choose_motion(out, data, frames=CHECK_FRAMES, streams=CHECK_STREAMS, seed=2, split="val", in_use=True)
    manifest = read_manifest(folder)
    choice = choose_precision(folder, manifest, recordings, budget_for(budget_mm))
    kept = tuple(graph for graph in manifest.graphs if graph.precision in ("fp32", choice.precision))
    gone = {graph.file for graph in manifest.graphs} - {graph.file for graph in kept}
    replace_files(folder, manifest.model_copy(update={"graphs": kept, "preferred": choice.precision}), {}, drop=gone)
    return choice


def tell_choice(out: Output, choice: PrecisionChoice) -> None:
    """What was chosen among what, for people."""
    for one in choice.candidates:
        verdict = f"over the budget: {', '.join(one.exceeded)}" if one.exceeded else "within the budget"
        out.print(f"  {one.precision:<8}{one.launch_ms:>8.2f} ms a launch{one.measured.mean_mm:>9.3f} mm drift   {verdict}")
    out.print(f"Chosen: {choice.why}")
