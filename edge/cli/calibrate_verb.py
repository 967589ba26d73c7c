"""posemoe-edge calibrate"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.artefact.locate import DEFAULT_MODEL
from ...runtime.artefact.manifest import read_manifest
from ...runtime.artefact.precision import PRECISIONS, QUANTISED, Precision
from ...runtime.command_line import command_line
from ...runtime.errors import missing_extra
from .certificate_report import frame_limits_of
from .motion import choose_motion
from .options import FILE
from .output import Output, Result, megabytes, verb

if TYPE_CHECKING:
    from ...calib.quantize.calibration import Calibration
    from ...calib.quantize.ranges import RangeMethod

STREAMS, FRAMES = 32, 500  # that are observed
CALIBRATED = [name for name in QUANTISED if not PRECISIONS[name].needs_budget]
CHECK_STREAMS, CHECK_FRAMES = 4, 400  # on which the budget is checked
SHOWN = 10  # layers in the table


@click.command("calibrate")
@click.argument("artefact", type=click.Path(path_type=Path), default=DEFAULT_MODEL)
@click.option(
    "--data",
    type=FILE,
    help="Motion capture (.npz): ranges come from its train split, a budget is checked on its val split.",
)
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    default=STREAMS,
    show_default=True,
    help="Number of streams to observe, at different frame rates.",
)
@click.option("--frames", type=click.IntRange(min=1), default=FRAMES, show_default=True, help="Frames of each stream.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of people, cameras and noise.")
@click.option(
    "--method",
    type=click.Choice(["minmax", "percentile", "entropy", "mse"]),
    default="minmax",
    show_default=True,
    help="How the range of a tensor is found; all but minmax clip the largest values.",
)
@click.option(
    "--precision",
    multiple=True,
    type=click.Choice(CALIBRATED),
    default=("int8",),
    show_default=True,
    help=f"{'; '.join(f'{name}: {PRECISIONS[name].summary}' for name in CALIBRATED)}. May be given more than once.",
)
@click.option(
    "--budget-mm",
    type=click.FloatRange(min=0, min_open=True),
    help="Allowed mean drift: measure each layer's drift and add a mixed graph with as many INT8 layers as that allows.",
)
@verb
def command(
    out: Output,
    artefact: Path,
    data: Path | None,
    streams: int,
    frames: int,
    seed: int,
    method: RangeMethod,
    precision: tuple[Precision, ...],
    budget_mm: float | None,
) -> Result:
    """Write ARTEFACT's INT8 graphs, with ranges observed while its FP32 graph runs with the state carried."""
    started = time.monotonic()
    read_manifest(artefact)
    calibration = calibrate_folder(
        out,
        artefact,
        data,
        streams=streams,
        frames=frames,
        seed=seed,
        method=method,
        precisions=precision,
        budget_mm=budget_mm,
    )
    manifest = read_manifest(artefact)
    sizes = {graph.precision: manifest.files[graph.file].bytes for graph in manifest.graphs}
    report_calibration(out, calibration, sizes)
    out.print(f"Wrote {artefact} in {time.monotonic() - started:.1f} s")
    out.print(
        "On a processor INT8 is slower than FP32, with VNNI too. One stream's products have 17 rows: on a GPU, INT8 is faster"
    )
    out.print("only for batches of streams and for chunks; otherwise it only saves memory. Measure before you choose it.")
    result = calibration.model_dump(mode="json") | {"artefact": str(artefact), "bytes": sizes}
    limits = () if calibration.budget is None else ("--precision", "mixed", *frame_limits_of(calibration.budget))
    return Result(result, next_command=command_line("verify", artefact, *limits, *(("--data", data) if data else ())))


def calibrate_folder(
    out: Output,
    artefact: Path,
    data: Path | None,
    *,
    streams: int,
    frames: int,
    seed: int,
    method: RangeMethod,
    precisions: tuple[Precision, ...],
    budget_mm: float | None,
    display_path: Path | None = None,
) -> Calibration:
    """Calibrate an artefact with motion of ``data`` or of walkers.

    Args:
        display_path: what messages call the artefact: ``export`` calibrates a draft in a hidden folder.
    """
    try:
        from ...calib.measure.budget import budget_for
        from ...calib.quantize.calibrate import Check, calibrate
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "export", "calibrating") from None

    recordings, motion = choose_motion(out, data, frames=frames, streams=streams, seed=seed, split="train", in_use=True)
    check = None
    if budget_mm is not None:
        source = motion.source if data is None else data
        out.print(f"  the budget is checked on other motion of {source}")
        check = Check(
            *choose_motion(out, data, frames=CHECK_FRAMES, streams=CHECK_STREAMS, seed=seed + 1, split="val", in_use=True)
        )
    out.print(f"Calibrating {display_path or artefact}: {streams} streams of {frames} frames, {motion.kind}")

    return calibrate(
        artefact,
        recordings,
        motion,
        precisions=precisions,
        method=method,
        budget=None if budget_mm is None else budget_for(budget_mm),
        check=check,
        progress=out.progress,
    )


def report_calibration(out: Output, calibration: Calibration, sizes: dict[Precision, int]) -> None:
    """Print the sizes of the graphs in bytes and the most sensitive layers."""
    for precision, size in sizes.items():
        out.print(f"  {precision:<8}{megabytes(size):>10}  {size / sizes['fp32']:>5.2f} of fp32")
    if calibration.budget is None:
        out.print(f"{len(calibration.layers)} layers are INT8. The drift that each of them causes: --budget-mm")
        return
    ranked = sorted(calibration.layers, key=lambda layer: -(layer.sensitivity_mm or 0.0))
    out.print(f"{'alone':>10}   {'in the mix':<12}layer")
    for layer in ranked[:SHOWN]:
        out.print(f"{layer.sensitivity_mm or 0.0:>7.3f} mm   {layer.mixed_precision or '':<12}{layer.name}")
    int8 = sum(layer.mixed_precision == "int8" for layer in calibration.layers)
    percent = 100 * (calibration.int8_macs_fraction or 0.0)
    out.print(f"mixed: {int8} of {len(ranked)} layers, {percent:.0f} % of the multiplications with weights, are INT8")
