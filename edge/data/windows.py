"""Windows: whole, evenly spaced stretches of takes, for a lifter that sees a window at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...runtime.errors import UsageError
from .mocap import Clip
from .takes import Chunk, Draw, make_take


class WindowStream(Iterator[Chunk]):
    """Endless batches of windows, each of one person and one camera; all as ``TakeStream``, but nothing goes on from before.

    A clip that is too short for its window goes on with its last frame, standing still.

    Args:
        clips: what to film.
        rows: windows in a batch.
        frames: T.
        seed: the same seed, clips and sizes give the same stream.
        strides: (stride, weight) pairs: cameras of the clip's rate, half of it ... A window has one rate.
        clean: share of the windows with exact and complete keypoints.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        rows: int,
        frames: int,
        seed: int | Sequence[int],
        strides: Sequence[tuple[int, float]] = ((1, 1.0),),
        clean: float = 0.15,
    ) -> None:
        self._drawn = Draw(clips, strides)
        if rows < 1 or frames < 1:
            raise UsageError(f"{rows} windows of {frames} frames", expected="at least one of each")
        self.rows, self.frames, self.clean = rows, frames, clean
        self._rng = np.random.default_rng(seed)

    def __next__(self) -> Chunk:
        rng, chunk = self._rng, Chunk.empty(self.rows, self.frames)
        chunk.reset[:, 0] = True
        for row in range(self.rows):
            clip, stride, exact = self._drawn.clip(rng), self._drawn.stride(rng), rng.random() < self.clean
            span = (self.frames - 1) * stride + 1
            take = make_take(clip, rng, augment=True, noisy=not exact, masked=not exact, stride=stride, frames=span)
            seen = np.minimum(np.arange(self.frames), len(take) - 1)
            chunk.keypoints[row], chunk.pose_m[row] = take.keypoints[seen], take.pose_m[seen]
            chunk.dt_s[row] = stride / clip.fps
        return chunk
