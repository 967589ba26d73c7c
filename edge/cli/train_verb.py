"""posemoe-edge train"""

from __future__ import annotations

from pathlib import Path

import click

from ...runtime.errors import UsageError, missing_extra
from ...runtime.model import DEFAULT_MODEL
from .output import Output, Result, megabytes, verb


@click.command("train")
@click.argument("preset", default=DEFAULT_MODEL)
@click.option(
    "--data",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Motion capture (.npz); train and val splits.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The weights to write; default: ./PRESET.safetensors."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="Wall-clock budget."
)
@click.option("--rows", type=click.IntRange(min=1), default=16, show_default=True, help="Streams side by side.")
@click.option("--frames", type=click.IntRange(min=2), default=27, show_default=True, help="Frames between two updates.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=1e-3, show_default=True, help="Peak learning rate."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--compile/--no-compile", default=True, help="Fuse the network first: minutes of waiting, then faster.")
@verb
def command(
    out_: Output,
    preset: str,
    data: Path,
    out: Path | None,
    minutes: float,
    rows: int,
    frames: int,
    rate: float,
    seed: int,
    compile: bool,
) -> Result:
    """Train PRESET on motion capture filmed by random cameras, as it will run: memory carried from chunk to chunk."""
    try:
        from ..data.mocap import load_clips
        from ..presets import find_preset
        from ..training.train import Progress, Recipe, train
    except ImportError as error:
        raise missing_extra(error.name or "torch", "train", "training") from None
    chosen = find_preset(preset)
    if chosen.config.window is not None:
        raise UsageError(
            f"{preset} is a window model, and training of those is not built yet", expected="a retention or dssm preset"
        )
    weights = out or Path(f"{preset}.safetensors")
    clips, validation = load_clips(data, "train"), load_clips(data, "val")
    out_.say(f"Training {preset} for {minutes:g} minutes on {len(clips)} clips, {sum(map(len, clips))} frames; to {weights}")
    recipe = Recipe(minutes=minutes, rows=rows, frames=frames, rate=rate, seed=seed, compiled=compile)

    with out_.progress("training", total=1000, unit="thousandths of the budget") as tick:
        reached = 0

        def report(progress: Progress) -> None:
            nonlocal reached
            tick(int(1000 * progress.done) - reached)
            reached = int(1000 * progress.done)
            if progress.val_mpjpe_mm is not None:
                pace = f"{progress.updates} updates, {progress.frames_per_second:.0f} frames/s"
                out_.say(f"  {pace}, loss {progress.loss:.4f}, val {progress.val_mpjpe_mm:.1f} mm")

        record = train(chosen, clips, out=weights, recipe=recipe, validation=validation, report=report)
    size = megabytes(weights.stat().st_size)
    val = record["val_mpjpe_mm"]
    watched = "" if val is None else f": val MPJPE {val:.1f} mm"
    out_.say(f"Wrote {weights} ({size}){watched} after {record['frames']} frames")
    return Result(
        {"weights": str(weights), "preset": preset, **record}, next_command=f"posemoe-edge export {preset} --weights {weights}"
    )
