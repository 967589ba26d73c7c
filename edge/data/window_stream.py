"""Endless batches of windows: whole, evenly spaced parts of clips or recorded sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...runtime.errors import UsageError
from .batches import DatasetSampler, SequenceBatch
from .sequences import DatasetItem

MULTIPLE_TOLERANCE = 1e-3  # how far a frame rate may be from a multiple of the slowest one, relative to the slowest


class WindowStream(Iterator[SequenceBatch]):
    """Endless batches of windows, each of one person and one camera. Nothing continues from one batch to the next.

    An item that is too short for its window repeats its last frame. A window of one frame shows a person of whom the batch
    holds nothing else, so such batches hold as many people and cameras as frames.

    Args:
        dataset: clips, which are projected by random cameras, or recorded sequences; all at one frame rate, or at multiples of
            the slowest.
        rows: windows in a batch.
        frames: T.
        seed: the same seed, dataset and sizes give the same stream.
        strides: (stride, weight) pairs: cameras of the slowest item's rate, half of it ... A batch has one rate.
        clean: share of the windows with complete keypoints; those of clips are also exact.
    """

    def __init__(
        self,
        dataset: Sequence[DatasetItem],
        *,
        rows: int,
        frames: int,
        seed: int | Sequence[int],
        strides: Sequence[tuple[int, float]] = ((1, 1.0),),
        clean: float = 0.15,
    ) -> None:
        self._sampler = DatasetSampler(dataset, strides)
        if rows < 1 or frames < 1:
            raise UsageError(f"{rows} windows of {frames} frames", expected="at least one of each")
        self.rows, self.frames, self.clean = rows, frames, clean
        if len({type(item) for item in dataset}) > 1:
            raise UsageError("clips and recorded sequences in one dataset", expected="items of one kind")
        rates = np.array([item.fps for item in dataset])
        self.fps = float(rates.min())
        self._steps = np.round(rates / self.fps).astype(np.int64)  # frames of each item per frame of the slowest
        if np.abs(rates / self.fps - self._steps).max() > MULTIPLE_TOLERANCE:
            raise UsageError("clips of several frame rates", expected="one, or multiples of the slowest: resample them")
        self._rng = np.random.default_rng(seed)
        self._frames = np.concatenate([item.frames for item in dataset])  # (all frames, ...)
        self._make_pairs = dataset[0].make_pairs
        self._length = np.array([len(item) for item in dataset])
        self._first = np.cumsum(self._length) - self._length

    def __next__(self) -> SequenceBatch:
        rng, stride = self._rng, self._sampler.draw_stride(self._rng)
        items = self._sampler.draw_items(rng, self.rows)
        length, step = self._length[items], stride * self._steps[items]  # (rows,)
        start = rng.integers(np.maximum(length - (self.frames - 1) * step, 1))
        index = np.minimum(start[:, None] + step[:, None] * np.arange(self.frames), length[:, None] - 1)
        frames = self._frames[self._first[items][:, None] + index]  # (rows, T, ...)
        batch = SequenceBatch.empty(self.rows, self.frames)
        is_clean = rng.random(self.rows) < self.clean
        for rows, clean in ((is_clean, True), (~is_clean, False)):
            if rows.any():
                pairs = self._make_pairs(frames[rows], rng, augment=True, noisy=not clean, masked=not clean)
                batch.keypoints[rows], batch.pose_m[rows] = pairs[:2]
        batch.dt_s[:] = stride / self.fps
        batch.reset[:, 0] = True
        return batch
