"""posemoe-edge train"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ...runtime.artefact.locate import DEFAULT_MODEL
from ...runtime.errors import missing_extra
from .output import Output, Result, megabytes, verb

if TYPE_CHECKING:
    from ..training.recipe import TrainingProgress


@click.command("train")
@click.argument("preset", default=DEFAULT_MODEL)
@click.option(
    "--data", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Motion to learn from (.npz): see import."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Weights (.safetensors); default: PRESET.safetensors."
)
@click.option("--updates", type=click.IntRange(min=1), default=4000, show_default=True, help="Length of the training.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop for now after so long; call again to go on.")
@click.option("--save-every", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Minutes; a crash loses them.")
@click.option("--fresh", is_flag=True, help="Begin anew, whatever training is there.")
@click.option("--rows", type=click.IntRange(min=1), default=16, show_default=True, help="Streams, or windows, side by side.")
@click.option("--frames", type=click.IntRange(min=2), default=27, show_default=True, help="Frames of a stream between updates.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=2e-3, show_default=True, help="Peak learning rate."
)
@click.option(
    "--loss", type=click.Choice(["posemoe", "mixste", "hummuss"]), default="posemoe", show_default=True, help="Of which paper."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Weights to begin with: the preset's own, or posemoe-frame-s's, with fresh blocks over time.",
)
@click.option("--compile/--no-compile", default=False, help="Fuse the network first: minutes of waiting, then faster.")
@click.option("--tensorboard", type=click.Path(path_type=Path, file_okay=False), help="A folder for TensorBoard.")
@verb
def command(
    out_: Output,
    preset: str,
    data: Path,
    out: Path | None,
    updates: int,
    minutes: float | None,
    save_every: float,
    fresh: bool,
    rows: int,
    frames: int,
    rate: float,
    loss: Any,
    seed: int,
    start: Path | None,
    compile: bool,
    tensorboard: Path | None,
) -> Result:
    """Train PRESET as it will run, on motion filmed by random cameras or on recorded takes. Called again, it goes on."""
    if os.environ.get("RANK", "0") != "0":  # one of several processes under torchrun: the first one talks
        out_.console.quiet, out_.as_json = True, False
    try:
        from ..data.dataset import open_data
        from ..data.mocap import Clip, load_clips
        from ..presets import find_preset
        from ..training.inflate import start_from
        from ..training.recipe import Recipe
        from ..training.train import train
    except ImportError as error:
        raise missing_extra(error.name or "torch", "train", "training") from None
    chosen = find_preset(preset)
    weights = out or Path(f"{preset}.safetensors")
    writer = _writer(tensorboard)
    footage = open_data(data, "train")
    filmed = any(isinstance(one, Clip) for one in footage)
    validation = load_clips(data, "val") if filmed else []  # recorded takes have no such split
    until = f", at most {minutes:g} minutes for now" if minutes else ""
    out_.print(
        f"Training {preset} to update {updates}{until}, on {len(footage)} {'clips' if filmed else 'recorded takes'}, "
        f"{sum(map(len, footage))} frames; to {weights}"
    )
    begun, origin = (None, None) if start is None else start_from(start, chosen.config)
    recipe = Recipe(updates=updates, rows=rows, frames=frames, rate=rate, loss=loss, seed=seed, compiled=compile)

    with out_.progress("training", total=updates, unit="updates") as tick:
        reached = 0

        def report(progress: TrainingProgress) -> None:
            nonlocal reached
            tick(progress.updates - reached)
            reached = progress.updates
            if writer is not None:
                writer.add_scalar("loss", progress.loss, progress.updates)
                writer.add_scalar("frames_per_second", progress.frames_per_second, progress.updates)
                if progress.val_mpjpe_mm is not None:
                    writer.add_scalar("val_mpjpe_mm", progress.val_mpjpe_mm, progress.updates)
            if progress.val_mpjpe_mm is not None:
                pace = f"{progress.updates} updates, {progress.frames_per_second:.0f} frames/s"
                out_.print(f"  {pace}, loss {progress.loss:.4f}, val {progress.val_mpjpe_mm:.1f} mm")

        record = train(
            chosen,
            footage,
            out=weights,
            recipe=recipe,
            minutes=minutes,
            save_every_minutes=save_every,
            validation=validation,
            on_progress=report,
            fresh=fresh,
            start=begun,
            origin=origin,
        )
    if writer is not None:
        writer.close()
    picture = _draw(weights.with_suffix(".png"), record)
    val = record["val_mpjpe_mm"]
    watched = "" if val is None else f": val MPJPE {val:.1f} mm"
    size = megabytes(weights.stat().st_size)
    out_.print(f"{weights} ({size}) is at update {record['updates']} of {updates}{watched}; {record['frames']} frames so far")
    if picture:
        out_.print(f"Drew {picture}")
    done = record["updates"] >= updates
    return Result(
        {"weights": str(weights), "preset": preset, **record},
        next_command=f"posemoe-edge export {preset} --weights {weights}" if done else _again(preset),
    )


def _again(preset: str) -> str:
    """The same call once more, as it was written: any other recipe would be refused."""
    context, words = click.get_current_context(), ["posemoe-edge", "train", preset]
    for option in context.command.params:
        value, name = context.params.get(option.name or ""), option.opts[0]
        written = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if written and name.startswith("--") and not isinstance(value, bool):
            words += [name, str(value)]
    return shlex.join(words)


def _writer(folder: Path | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise missing_extra("tensorboard", "train", "writing for TensorBoard") from None
    return SummaryWriter(str(folder))


def _draw(path: Path, record: dict[str, Any]) -> Path | None:
    """Loss and validation error over the updates, once there is something to see."""
    from ...runtime.errors import MissingError
    from ...runtime.plotting import Lines, draw_lines

    curve = record["curve"]
    if len(curve) < 2:
        return None
    updates, losses, errors = zip(*curve, strict=True)
    plots = [Lines(x=updates, y={"loss": losses}, title="training loss", x_label="updates", y_label="m", from_zero=True)]
    if None not in errors:
        title = f"validation: {errors[-1]:.1f} mm"
        plots.append(Lines(x=updates, y={"MPJPE": errors}, title=title, x_label="updates", y_label="mm", from_zero=True))
    try:
        draw_lines(path, plots)
    except MissingError:  # no matplotlib: the numbers are in the record
        return None
    return path
