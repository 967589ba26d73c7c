"""posemoe-edge train"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ...runtime.artefact.locate import DEFAULT_MODEL
from ...runtime.command_line import command_line
from ...runtime.destination import check_destination, check_space
from ...runtime.errors import PoseEdgeError, UsageError, missing_extra
from .options import FILE, FOLDER
from .output import Output, Result, counted, megabytes, verb

if TYPE_CHECKING:
    from ..training.recipe import Loss, TrainingProgress


@click.command("train")
@click.argument("preset", default=DEFAULT_MODEL)
@click.option(
    "--data",
    type=FILE,
    required=True,
    multiple=True,
    help="Clips or recorded sequences (.npz), which import makes; may be given several times.",
)
@click.option(
    "--out",
    type=FILE,
    help="Weights to write (.safetensors).  [default: PRESET.safetensors]",
)
@click.option("--updates", type=click.IntRange(min=1), default=4000, show_default=True, help="Length of the training.")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after N minutes; the same call resumes the training."
)
@click.option(
    "--save-every",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Save every N minutes; a crash loses at most that much training.",
)
@click.option("--fresh", is_flag=True, help="Start over, even if there is a training to resume.")
@click.option("--rows", type=click.IntRange(min=1), default=16, show_default=True, help="Streams, or windows, in a batch.")
@click.option(
    "--frames", type=click.IntRange(min=2), default=27, show_default=True, help="Frames of a stream between two updates."
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=2e-3, show_default=True, help="Peak learning rate."
)
@click.option(
    "--loss",
    type=click.Choice(["mpjpe", "posemoe", "mixste", "hummuss"]),
    default="mpjpe",
    show_default=True,
    help="The mean distance of the joints, or the loss of a paper.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights, cameras and noise.")
@click.option(
    "--from",
    "start",
    type=FILE,
    help="Weights to start from: the preset's, or posemoe-frame-s's, to which temporal blocks are added.",
)
@click.option(
    "--compile/--no-compile",
    default=False,
    help="Fuse the network with torch.compile: takes minutes first, then trains faster.",
)
@click.option("--tensorboard", type=FOLDER, help="Write TensorBoard events to this folder.")
@verb
def command(
    output: Output,
    preset: str,
    data: tuple[Path, ...],
    out: Path | None,
    updates: int,
    minutes: float | None,
    save_every: float,
    fresh: bool,
    rows: int,
    frames: int,
    rate: float,
    loss: Loss,
    seed: int,
    start: Path | None,
    compile: bool,
    tensorboard: Path | None,
) -> Result:
    """Train PRESET as it will run, on clips seen by random cameras or on recorded sequences.

    The same call resumes an interrupted training.
    """
    is_first = os.environ.get("RANK", "0") == "0"
    if not is_first:  # under torchrun only the first process prints
        output.console.quiet, output.as_json = True, False
    if fresh and int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) > 0:
        raise UsageError(
            "--fresh under torchrun --max-restarts: each restart would start over",
            expected="one of the two: a new --out, or torchrun without --max-restarts",
        )
    try:
        from ..data.dataset import open_motion
        from ..data.mocap import Clip
        from ..presets import find_preset
        from ..training.inflate import start_from
        from ..training.recipe import Recipe
        from ..training.train import TRAINING_FACTOR, train
    except ImportError as error:
        raise missing_extra(error.name or "torch", "train", "training") from None
    chosen = find_preset(preset)
    weights = out or Path(f"{preset}.safetensors")
    check_destination(weights, plain=True)
    check_space(weights, TRAINING_FACTOR * 4 * sum(weight.numel() for weight in chosen.build().parameters()))
    writer = _tensorboard_writer(tensorboard) if is_first else None
    dataset = open_motion(data, "train")
    has_clips = any(isinstance(item, Clip) for item in dataset)
    # Recorded sequences have no val split.
    validation = [item for item in open_motion(data, "val") if isinstance(item, Clip)] if has_clips else []
    limit = f", for at most {minutes:g} minutes" if minutes else ""
    items = counted(len(dataset), "clip" if has_clips else "recorded sequence")
    output.print(
        f"Training {preset} to update {updates}{limit}, on {items}, {counted(sum(map(len, dataset)), 'frame')}; to {weights}"
    )
    initial, origin = (None, None) if start is None else start_from(start, chosen.config)
    recipe = Recipe(updates=updates, rows=rows, frames=frames, rate=rate, loss=loss, seed=seed, compiled=compile)

    with output.progress("training", total=updates, unit="updates") as advance:
        reached = 0

        def on_progress(progress: TrainingProgress) -> None:
            nonlocal reached
            advance(progress.updates - reached)
            reached = progress.updates
            if writer is not None:
                writer.add_scalar("loss", progress.loss, progress.updates)
                writer.add_scalar("frames_per_second", progress.frames_per_second, progress.updates)
                if progress.val_mpjpe_mm is not None:
                    writer.add_scalar("val_mpjpe_mm", progress.val_mpjpe_mm, progress.updates)
            if progress.val_mpjpe_mm is not None:
                speed = f"{progress.updates} updates, {progress.frames_per_second:.0f} frames/s"
                output.print(f"  {speed}, loss {progress.loss:.4f}, val {progress.val_mpjpe_mm:.1f} mm")

        record = train(
            chosen,
            dataset,
            out=weights,
            recipe=recipe,
            minutes=minutes,
            save_every_minutes=save_every,
            validation=validation,
            on_progress=on_progress,
            fresh=fresh,
            start=initial,
            origin=origin,
        )
    if writer is not None:
        writer.close()
    if not is_first:  # it wrote nothing, and its disk may be another one
        return Result({"preset": preset, **record})
    plot = _plot_curve(weights.with_suffix(".png"), record)
    val_mpjpe_mm = record["val_mpjpe_mm"]
    accuracy = "" if val_mpjpe_mm is None else f": val MPJPE {val_mpjpe_mm:.1f} mm"
    size = megabytes(weights.stat().st_size)
    output.print(
        f"{weights} ({size}) is at update {record['updates']} of {updates}{accuracy}; {record['frames']} frames so far"
    )
    if plot:
        output.print(f"Drew {plot}")
    finished = record["updates"] >= updates
    return Result(
        {"weights": str(weights), "preset": preset, **record},
        next_command=command_line("export", preset, "--weights", weights, *_with_test_split(data))
        if finished
        else _resume_command(preset),
    )


def _with_test_split(data: tuple[Path, ...]) -> tuple[object, ...]:
    """The option that names the first file with a test split, on which the export is verified; none without such a file."""
    from ..data.dataset import open_data

    for path in data:
        try:
            if open_data(path, "test"):
                return "--data", path
        except PoseEdgeError:  # it has no such split
            continue
    return ()


_NOT_REPEATED = ("fresh", "as_json", "verbose")
"""Options that do not belong to the recipe of a training."""


def _resume_command(preset: str) -> str:
    """This call with the options as the user wrote them: another recipe would be refused."""
    context, words = click.get_current_context(), ["train", preset]
    for option in context.command.params:
        name = option.name or ""
        written = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not written or isinstance(option, click.Argument) or name in _NOT_REPEATED:
            continue
        value = context.params[name]
        if isinstance(value, bool):
            words.append((option.opts if value else option.secondary_opts)[0])
        else:
            for each in value if option.multiple else (value,):
                words += [option.opts[0], str(each)]
    return command_line(*words)


def _tensorboard_writer(folder: Path | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise missing_extra("tensorboard", "train", "writing for TensorBoard") from None
    return SummaryWriter(str(folder))


def _plot_curve(path: Path, record: dict[str, Any]) -> Path | None:
    """Plot loss and validation error over the updates; None with fewer than two saves, or without matplotlib."""
    from ...runtime.errors import MissingError
    from ...runtime.plotting import draw_lines
    from ..training.curve_plot import curve_plots

    curve = record["curve"]
    if len(curve) < 2:
        return None
    try:
        draw_lines(path, curve_plots(curve))
    except MissingError:  # there is no matplotlib; the record contains the numbers
        return None
    return path
