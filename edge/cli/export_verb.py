"""posemoe-edge export"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...runtime.artefact.certificate import REFERENCE
from ...runtime.artefact.locate import DEFAULT_MODEL, ZOO
from ...runtime.artefact.precision import PRECISIONS, Precision, source_of
from ...runtime.command_line import command_line
from ...runtime.errors import UsageError, missing_extra
from ...runtime.serving import write_repository
from .calibrate_verb import CHECK_FRAMES, CHECK_STREAMS, FRAMES, STREAMS, calibrate_folder
from .certificate_report import frame_limits_of
from .motion import choose_motion
from .options import FILE, FOLDER
from .output import Output, Result, megabytes, verb
from .triton_verb import models_data, print_models

if TYPE_CHECKING:
    from ...calib.quantize.precision_choice import PrecisionChoice
    from ...export.lifter import ExportableLifter


@click.command("export")
@click.argument("preset", required=False)
@click.option(
    "--precision",
    multiple=True,
    type=click.Choice([*PRECISIONS, "auto"]),
    default=("fp32",),
    show_default=True,
    help="A graph to write beside the fp32 graph; repeatable. int8 and mixed are calibrated on --data. auto writes all, "
    "measures them on this machine and keeps the fastest within the budget.",
)
@click.option(
    "--data",
    type=FILE,
    help="Motion capture (.npz) to calibrate and measure int8, mixed and auto on.  [default: procedural walkers]",
)
@click.option(
    "--budget-mm",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Mean drift that mixed and auto may have.",
)
@click.option(
    "--chunk",
    type=click.IntRange(min=2),
    metavar="N",
    help="Write graphs that take N frames at once. Poses come N - 1 frames late. Only for lifters that carry a state.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights (.safetensors) written by `train` or `import`.  [default: the shipped ones]",
)
@click.option("--untrained", is_flag=True, help="Use random weights, to try a preset without trained ones.")
@click.option("--out", type=FOLDER, help="The artefact's folder.  [default: ./PRESET]")
@click.option(
    "--triton",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write a model repository for NVIDIA's Triton there (see the verb triton).",
)
@verb
def command(
    output: Output,
    preset: str | None,
    precision: tuple[str, ...],
    data: Path | None,
    budget_mm: float,
    chunk: int | None,
    weights: Path | None,
    untrained: bool,
    out: Path | None,
    triton: Path | None,
) -> Result:
    """Write PRESET's artefact: ONNX graphs, manifest, reference weights. Default: the preset of the weights."""
    if weights and untrained:
        raise UsageError("--weights and --untrained", expected="one of them")
    started = time.monotonic()
    try:
        from ...export.artefact import export
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "exporting") from None
    model, preset, training = _load_model(preset, weights, untrained=untrained)
    folder = out or Path(preset)
    auto = "auto" in precision
    requested: set[str] = set(PRECISIONS) if auto else set(precision)
    exported, calibrated = _split(requested)
    choices: list[PrecisionChoice] = []

    def quantise(draft: Path) -> None:
        if calibrated:
            calibrate_folder(
                output,
                draft,
                data,
                streams=STREAMS,
                frames=FRAMES,
                seed=0,
                method="minmax",
                precisions=("int8",),
                budget_mm=budget_mm if "mixed" in requested else None,
                display_path=folder,
            )
        if auto:
            choices.append(_keep_best_graph(output, draft, data, budget_mm))

    if model.config.units != "metres":
        output.warn("these weights predict poses in image units, as published: multiply by half the image width and by a scale")
    output.print(f"Exporting {preset} ({sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters) to {folder}")
    output.stage("loading", time.monotonic() - started)
    manifest = export(
        model,
        folder,
        preset=preset,
        precisions=exported,
        chunk=chunk,
        training=training,
        postprocess=quantise,
        on_stage=output.stage,
    )
    seconds, size = time.monotonic() - started, sum(record.bytes for record in manifest.files.values())
    output.print(f"Wrote {folder} in {seconds:.1f} s: {len(manifest.files)} files, {megabytes(size)}")
    for choice in choices:
        _report_choice(output, choice)
    output.print(f"A stream's state is {megabytes(manifest.state_bytes)}")
    served = write_repository(folder, triton) if triton else ()
    if triton:
        print_models(output, triton, served)
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
        "choice": choices[0].model_dump(mode="json") if choices else None,
        "triton": models_data(served) if triton else None,
    }
    limits = _chosen_limits(budget_mm) if {"mixed", "auto"} & set(precision) else ()
    return Result(report, next_command=command_line("verify", folder, *limits, *(("--data", data) if data else ())))


def _load_model(preset: str | None, weights: Path | None, *, untrained: bool) -> tuple[ExportableLifter, str, dict[str, Any]]:
    """The network, its preset, and how its weights were made."""
    try:
        from ..checkpoints import load_checkpoint
        from ..presets import find_preset
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "exporting") from None
    if untrained:
        preset = preset or DEFAULT_MODEL
        return find_preset(preset).build().eval(), preset, {"untrained": True}
    expected = find_preset(preset) if preset else None
    source = weights or ZOO / (preset or DEFAULT_MODEL) / REFERENCE
    if not weights and not source.is_file():
        raise UsageError(
            f"{preset} has no shipped weights yet",
            expected="--weights FILE or --untrained",
            run=f"{command_line('export', preset, '--untrained')}, or train it, or import official weights",
        )
    model, record = load_checkpoint(source)
    # Weights that were trained as this preset keep their own configuration, also where the preset has changed since.
    if expected and record["preset"] != expected.name and not expected.fits(model.config):
        raise UsageError(f"{source} holds weights of {record['preset']}", expected=f"weights of {preset}")
    return model, preset or str(record["preset"]), record["training"]


def _split(requested: set[str]) -> tuple[list[Precision], list[Precision]]:
    """The precisions that export writes, with the sources of calibrated ones, and those that calibration makes of them."""
    calibrated = [name for name, row in PRECISIONS.items() if name in requested and row.needs_motion]
    needed = requested | {source_of(name) for name in calibrated}
    return [name for name in PRECISIONS if name in needed and name not in calibrated], calibrated


def _keep_best_graph(out: Output, folder: Path, data: Path | None, budget_mm: float) -> PrecisionChoice:
    from ...calib.measure.budget import budget_for
    from ...export.best_graph import keep_best_graph

    recordings, _ = choose_motion(out, data, frames=CHECK_FRAMES, streams=CHECK_STREAMS, seed=2, split="val", in_use=True)
    return keep_best_graph(folder, recordings, budget_for(budget_mm))


def _chosen_limits(budget_mm: float) -> tuple[str, ...]:
    """The options of ``verify`` that judge by the budget that graphs were chosen by; none for the default one."""
    from ...calib.measure.budget import DEFAULT_BUDGET, budget_for

    budget = budget_for(budget_mm)
    return () if budget == DEFAULT_BUDGET else frame_limits_of(budget)


def _report_choice(out: Output, choice: PrecisionChoice) -> None:
    """Print every graph's time and drift, and the chosen one."""
    for candidate in choice.candidates:
        verdict = f"over the budget: {', '.join(candidate.exceeded)}" if candidate.exceeded else "within the budget"
        out.print(
            f"  {candidate.precision:<8}{candidate.launch_ms:>8.2f} ms a launch"
            f"{candidate.measured.mean_mm:>9.3f} mm drift   {verdict}"
        )
    out.print(f"Chosen: {choice.why}")
