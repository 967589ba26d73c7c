"""The batches of a training: windows first, then streams whose state is carried from batch to batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from ..data.batches import STRIDES, SequenceBatch
from ..data.sequence_stream import SequenceStream
from ..data.sequences import DatasetItem
from ..data.window_stream import WindowStream
from ..models.lifter import Lifter
from .recipe import Recipe


def training_batches(
    dataset: Sequence[DatasetItem], model: Lifter, recipe: Recipe, *, rank: int, updates: int
) -> Iterator[tuple[SequenceBatch, bool]]:
    """Endless batches, each with whether the state is carried into it.

    Args:
        rank, updates: part of the seed, so that each process and each resumed run draws other cameras.
    """
    seed = (recipe.seed, rank, updates)
    window_batches = max(0, round(recipe.windows * recipe.updates) - updates)
    if model.config.windowed or window_batches:  # a WindowStream copies the whole dataset
        windows = WindowStream(dataset, rows=recipe.rows, frames=frames_per_row(model, recipe), seed=seed, strides=STRIDES)
        for batch in windows if model.config.windowed else islice(windows, window_batches):
            yield batch, False
    for batch in SequenceStream(dataset, rows=recipe.rows, frames=recipe.frames, seed=seed):
        yield batch, True


def frames_per_row(model: Lifter, recipe: Recipe) -> int:
    """Frames of one row of a batch."""
    return model.config.window or recipe.frames
