"""Endless rows of pose sequences, one after the other: batches for truncated back-propagation through time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...runtime.errors import UsageError
from .batches import STRIDES, DatasetSampler, SequenceBatch
from .sequences import DatasetItem, PoseSequence, make_sequence

MOST_DROPPED = 0.4  # an irregular sequence loses up to this share of its frames


class SequenceStream(Iterator[SequenceBatch]):
    """Endless training batches for truncated back-propagation through time.

    Each row plays one sequence after the other in consecutive batches; where one ends, the next starts at the very next frame
    with ``reset`` true. Sequences are parts of the dataset's items, drawn in proportion to their lengths, augmented, noisy and
    masked. The stream is its own iterator: a second loop over it continues where the first one stopped.

    Args:
        dataset: clips, which are projected by random cameras, or recorded sequences.
        rows: sequences side by side (batch size).
        frames: frames in a batch.
        seed: the same seed, dataset and sizes give the same stream; a row does not depend on the other rows.
        strides: (stride, weight) pairs: 1, 2, 4 of a clip at 50 Hz are cameras of 50, 25, 12.5 Hz.
        longest_sequence: frames of the item that a sequence spans at most, before the stride.
        irregular: share of the sequences that lose frames at random, up to 40 % of them.
        clean: share of the sequences with complete keypoints; those of clips are also exact.
    """

    def __init__(
        self,
        dataset: Sequence[DatasetItem],
        *,
        rows: int,
        frames: int,
        seed: int | Sequence[int],
        strides: Sequence[tuple[int, float]] = STRIDES,
        longest_sequence: int = 600,
        irregular: float = 0.1,
        clean: float = 0.15,
    ) -> None:
        self._dataset, self._sampler = list(dataset), DatasetSampler(dataset, strides)
        if rows < 1 or frames < 1 or longest_sequence < 1:
            raise UsageError(
                f"{rows} rows of {frames} frames from sequences of {longest_sequence}", expected="at least one of each"
            )
        self.rows, self.frames = rows, frames
        self.longest_sequence, self.irregular, self.clean = longest_sequence, irregular, clean
        self._rngs = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(rows)]
        self._playing: list[tuple[PoseSequence, int] | None] = [None] * rows  # each row's sequence and its next frame

    def __next__(self) -> SequenceBatch:
        batch = SequenceBatch.empty(self.rows, self.frames)
        for row in range(self.rows):
            filled = 0
            while filled < self.frames:
                sequence, start = self._playing[row] or (self._draw(self._rngs[row]), 0)
                count = min(self.frames - filled, len(sequence) - start)
                to, of = slice(filled, filled + count), slice(start, start + count)
                batch.keypoints[row, to] = sequence.keypoints[of]
                batch.pose_m[row, to] = sequence.pose_m[of]
                batch.dt_s[row, to] = sequence.dt_s[of]
                batch.reset[row, filled] |= start == 0
                filled += count
                self._playing[row] = (sequence, start + count) if start + count < len(sequence) else None
        return batch

    def _draw(self, rng: np.random.Generator) -> PoseSequence:
        item = self._dataset[int(self._sampler.draw_items(rng, 1)[0])]
        clean = rng.random() < self.clean
        return make_sequence(
            item,
            rng,
            augment=True,
            noisy=not clean,
            masked=not clean,
            stride=self._sampler.draw_stride(rng),
            frames=self.longest_sequence,
            drop=rng.uniform(0, MOST_DROPPED) if rng.random() < self.irregular else 0.0,
        )
