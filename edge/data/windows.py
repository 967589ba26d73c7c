"""Windows: whole, evenly spaced stretches of takes, made many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...runtime.errors import UsageError
from .sequences import Chunk, Draw, Footage

MULTIPLE = 1e-3  # rates are multiples of one another to this share of the slowest


class WindowStream(Iterator[Chunk]):
    """Endless batches of windows, each of one person and one camera; all as ``TakeStream``, but nothing goes on from before.

    Footage that is too short for its window goes on with its last frame, standing still. A window of one frame is a person of
    whom nothing else is known: nobody is seen more often than that, so such batches hold as many people and cameras as frames.

    Args:
        footage: clips to film, or recorded takes to play; all at one frame rate, or at multiples of the slowest.
        rows: windows in a batch.
        frames: T.
        seed: the same seed, footage and sizes give the same stream.
        strides: (stride, weight) pairs: cameras of the slowest footage's rate, half of it ... A batch has one rate.
        clean: share of the windows with complete keypoints, and of clips exact ones.
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        *,
        rows: int,
        frames: int,
        seed: int | Sequence[int],
        strides: Sequence[tuple[int, float]] = ((1, 1.0),),
        clean: float = 0.15,
    ) -> None:
        self._drawn = Draw(footage, strides)
        if rows < 1 or frames < 1:
            raise UsageError(f"{rows} windows of {frames} frames", expected="at least one of each")
        self.rows, self.frames, self.clean = rows, frames, clean
        if len({type(one) for one in footage}) > 1:
            raise UsageError("clips and recorded takes side by side", expected="windows of one kind")
        rates = np.array([one.fps for one in footage])
        self.fps = float(rates.min())
        self._every = np.round(rates / self.fps).astype(np.int64)  # of its frames, to be as slow as the slowest
        if np.abs(rates / self.fps - self._every).max() > MULTIPLE:
            raise UsageError("clips of several frame rates", expected="one, or multiples of the slowest: resample them")
        self._rng = np.random.default_rng(seed)
        self._frames = np.concatenate([one.frames for one in footage])  # (all frames, ...)
        self._show = footage[0].show
        self._length = np.array([len(one) for one in footage])
        self._first = np.cumsum(self._length) - self._length

    def __next__(self) -> Chunk:
        rng, stride = self._rng, self._drawn.stride(self._rng)
        drawn = self._drawn.footage(rng, self.rows)
        length, every = self._length[drawn], stride * self._every[drawn]  # (rows,)
        start = rng.integers(np.maximum(length - (self.frames - 1) * every, 1))
        seen = np.minimum(start[:, None] + every[:, None] * np.arange(self.frames), length[:, None] - 1)
        frames = self._frames[self._first[drawn][:, None] + seen]  # (rows, T, ...)
        chunk = Chunk.empty(self.rows, self.frames)
        exact = rng.random(self.rows) < self.clean
        for rows, found in ((exact, True), (~exact, False)):
            if rows.any():
                shown = self._show(frames[rows], rng, augment=True, noisy=not found, masked=not found)
                chunk.keypoints[rows], chunk.pose_m[rows] = shown
        chunk.dt_s[:] = stride / self.fps
        chunk.reset[:, 0] = True
        return chunk
