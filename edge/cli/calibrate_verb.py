"""posemoe-edge calibrate"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.artefact.locate import DEFAULT_MODEL
from ...runtime.artefact.manifest import read_manifest
from ...runtime.artefact.precision import PRECISIONS, QUANTISED, Precision
from ...runtime.errors import missing_extra
from .motion import choose_motion
from .output import Output, Result, megabytes, verb

if TYPE_CHECKING:
    from ...calib.quantize.calibration import Calibration

STREAMS, FRAMES = 32, 500  # to observe
CALIBRATED = [name for name in QUANTISED if not PRECISIONS[name].needs_budget]
CHECKED_STREAMS, CHECKED_FRAMES = 4, 400


@click.command("calibrate")
@click.argument("artefact", type=click.Path(path_type=Path), default=DEFAULT_MODEL)
@click.option(
    "--data",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Motion capture (.npz): its train split is observed, its val split decides what a budget allows.",
)
@click.option(
    "--streams", type=click.IntRange(min=1), default=STREAMS, show_default=True, help="People, at different frame rates."
)
@click.option("--frames", type=click.IntRange(min=1), default=FRAMES, show_default=True, help="Of each stream.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of people, cameras and noise.")
@click.option(
    "--method",
    type=click.Choice(["minmax", "percentile", "entropy", "mse"]),
    default="minmax",
    show_default=True,
    help="What becomes of the largest numbers: kept, or clipped by one rule or another.",
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
    help="Mean drift that is allowed: measure each layer's, and write a mixed graph with as much INT8 as that allows.",
)
@verb
def command(
    out: Output,
    artefact: Path,
    data: Path | None,
    streams: int,
    frames: int,
    seed: int,
    method: str,
    precision: tuple[Precision, ...],
    budget_mm: float | None,
) -> Result:
    """Write ARTEFACT's INT8 graphs, with ranges seen while it runs with its state carried."""
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
    written = {g.precision: manifest.files[g.file].bytes for g in manifest.graphs}
    tell(out, calibration, written)
    out.print(f"Wrote {artefact} in {time.monotonic() - started:.1f} s")
    out.print(
        "A processor without VNNI runs INT8 slower than FP32. One stream is a product of 17 rows: on a GPU, INT8 pays for"
    )
    out.print("batches of streams and for chunks, and otherwise saves memory alone. Measure before you choose it.")
    result = calibration.model_dump(mode="json") | {"artefact": str(artefact), "bytes": written}
    limits = "" if budget_mm is None else f" --precision mixed --mean-mm {budget_mm:g}"
    return Result(result, next_command=f"posemoe-edge verify {artefact}{limits}{f' --data {data}' if data else ''}")


def calibrate_folder(
    out: Output,
    artefact: Path,
    data: Path | None,
    *,
    streams: int,
    frames: int,
    seed: int,
    method: str,
    precisions: tuple[Precision, ...],
    budget_mm: float | None,
    shown: Path | None = None,
) -> Calibration:
    """Calibrate with motion of ``data``, or of walkers; also for ``export``, which shows another name than its draft's."""
    try:
        from ...calib.measure.budget import budget_of
        from ...calib.quantize.calibrate import Check, calibrate
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "export", "calibrating") from None

    recordings, motion = choose_motion(out, data, frames=frames, streams=streams, seed=seed, split="train", in_use=True)
    check = None
    if budget_mm is not None:
        of = motion.source if data is None else data
        out.print(f"  the budget is checked on other motion of {of}")
        more = {"frames": CHECKED_FRAMES, "streams": CHECKED_STREAMS, "seed": seed + 1}
        check = Check(*choose_motion(out, data, **more, split="val", in_use=True))
    out.print(f"Calibrating {shown or artefact}: {streams} streams of {frames} frames, {motion.kind}")

    def progress(label: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        return out.progress(label, total=total, unit=unit)

    return calibrate(
        artefact,
        recordings,
        motion,
        precisions=precisions,
        method=method,  # type: ignore[arg-type]
        budget=None if budget_mm is None else budget_of(budget_mm),
        check=check,
        progress=progress,
    )


def tell(out: Output, calibration: Calibration, written: dict[Precision, int]) -> None:
    """The calibration, for people."""
    for precision, size in written.items():
        out.print(f"  {precision:<8}{megabytes(size):>10}  {size / written['fp32']:>5.2f} of fp32")
    if calibration.budget is None:
        out.print(f"{len(calibration.layers)} layers are INT8. What each of them costs: --budget-mm")
        return
    ranked = sorted(calibration.layers, key=lambda layer: -(layer.alone_mm or 0.0))
    out.print(f"{'alone':>10}   {'in the mix':<12}layer")
    for layer in ranked[:10]:
        out.print(f"{layer.alone_mm or 0.0:>7.3f} mm   {layer.mixed or '':<12}{layer.name}")
    int8 = sum(layer.mixed == "int8" for layer in calibration.layers)
    share = 100 * (calibration.products or 0.0)
    out.print(f"mixed: {int8} of {len(ranked)} layers, {share:.0f} % of the multiplications with weights, are INT8")
