"""The batches of a training: windows first, then streams whose state is carried from batch to batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

import torch

from ..data.batches import STRIDES, SequenceBatch
from ..data.mocap import Clip
from ..data.sequence_stream import SequenceStream
from ..data.sequences import DatasetItem, PoseSequence
from ..data.window_stream import WindowStream
from ..models.lifter import Lifter
from ..scenes.motion_bank import MotionBank
from ..scenes.scenes import SceneBatch, Scenes
from .recipe import Recipe

GPU_FRAMES = 2**18  # of windows that a GPU draws at once


def motion_bank(dataset: Sequence[DatasetItem], device: torch.device) -> MotionBank | None:
    """The clips of a dataset on the device that trains; None of recorded sequences."""
    clips = [item for item in dataset if isinstance(item, Clip)]
    return MotionBank(clips, device=device) if len(clips) == len(dataset) else None


def training_batches(
    dataset: Sequence[DatasetItem],
    bank: MotionBank | None,
    model: Lifter,
    recipe: Recipe,
    *,
    rank: int,
    updates: int,
    progress: Callable[[], float],
) -> Iterator[tuple[SceneBatch, bool]]:
    """Endless batches on the model's device, each with whether the state is carried into it.

    Clips are filmed by cameras drawn on the device; recorded sequences are cut from their files on the host.

    Args:
        bank: the dataset's ``motion_bank``.
        rank, updates: part of the seed, so that each process and each resumed run draws other cameras.
        progress: the completed share of the training; windows go on until ``recipe.windows``.
    """
    seed, frames = (recipe.seed, rank, updates), frames_per_row(model, recipe)
    device, view = next(model.parameters()).device, model.config.view

    def windows_go_on(batch: object = None) -> bool:
        return model.config.windowed or progress() < recipe.windows

    if bank is not None:
        if windows_go_on():
            together = _drawn_together(device, recipe.rows * frames)
            windows = Scenes(bank, rows=together * recipe.rows, frames=frames, windows=True, view=view, seed=seed)
            for scenes in takewhile(windows_go_on, windows):
                for first in range(0, together * recipe.rows, recipe.rows):
                    if not windows_go_on():
                        break
                    yield scenes.slice_rows(slice(first, first + recipe.rows)), False
        long = recipe.scene * recipe.frames
        for scenes in Scenes(bank, rows=recipe.rows, frames=long, windows=False, view=view, seed=seed):
            for start in range(0, long, recipe.frames):
                yield scenes.slice_frames(slice(start, start + recipe.frames)), True
    dataset = [
        replace(item, keypoints=item.keypoints_for(view=view)) if isinstance(item, PoseSequence) else item for item in dataset
    ]
    if windows_go_on():  # a WindowStream copies the whole dataset
        recorded = WindowStream(dataset, rows=recipe.rows, frames=frames, seed=seed, strides=STRIDES)
        for batch in takewhile(windows_go_on, recorded):
            yield _on_device(batch, device), False
    for batch in SequenceStream(dataset, rows=recipe.rows, frames=recipe.frames, seed=seed):
        yield _on_device(batch, device), True


def single_frames(
    bank: MotionBank | None, model: Lifter, recipe: Recipe, *, rank: int, updates: int
) -> Iterator[SceneBatch] | None:
    """Endless batches of single frames of clips for ``recipe.singles``; None where there are none."""
    if not recipe.singles or bank is None:
        return None
    seed = (recipe.seed, rank, updates, 1)
    return Scenes(bank, rows=recipe.singles, frames=1, windows=True, view=model.config.view, seed=seed)


def frames_per_row(model: Lifter, recipe: Recipe) -> int:
    """Frames of one row of a batch."""
    return model.config.window or recipe.frames


def _drawn_together(device: torch.device, frames: int) -> int:
    """How many batches of so many frames are drawn at once: on a GPU, to start an operation takes longer than to compute it."""
    return max(1, GPU_FRAMES // frames) if device.type == "cuda" else 1


def _on_device(batch: SequenceBatch, device: torch.device) -> SceneBatch:
    arrays = (batch.keypoints, batch.pose_m, batch.dt_s, batch.reset)
    return SceneBatch(*(torch.from_numpy(array).to(device, non_blocking=True) for array in arrays))
