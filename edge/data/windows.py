"""Windows: whole, evenly spaced stretches of takes, made many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...runtime.errors import UsageError
from .mocap import Clip
from .takes import Chunk, Draw, film


class WindowStream(Iterator[Chunk]):
    """Endless batches of windows, each of one person and one camera; all as ``TakeStream``, but nothing goes on from before.

    A clip that is too short for its window goes on with its last frame, standing still. A window of one frame is a person of
    whom nothing else is known: nobody is seen more often than that, so such batches hold as many people and cameras as frames.

    Args:
        clips: what to film, all at one frame rate.
        rows: windows in a batch.
        frames: T.
        seed: the same seed, clips and sizes give the same stream.
        strides: (stride, weight) pairs: cameras of the clips' rate, half of it ... A batch has one rate.
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
        self.fps = clips[0].fps
        if any(clip.fps != self.fps for clip in clips):
            raise UsageError("clips of several frame rates", expected="one: resample them")
        self._rng = np.random.default_rng(seed)
        self._joints_m = np.concatenate([clip.joints_m for clip in clips])  # (all frames, 17, 3)
        self._length = np.array([len(clip) for clip in clips])
        self._first = np.cumsum(self._length) - self._length

    def __next__(self) -> Chunk:
        rng, stride = self._rng, self._drawn.stride(self._rng)
        clip = self._drawn.clips(rng, self.rows)
        length = self._length[clip]  # (rows,)
        start = rng.integers(np.maximum(length - (self.frames - 1) * stride, 1))
        seen = np.minimum(start[:, None] + stride * np.arange(self.frames), length[:, None] - 1)
        joints_m = self._joints_m[self._first[clip][:, None] + seen]  # (rows, T, 17, 3)
        chunk = Chunk.empty(self.rows, self.frames)
        exact = rng.random(self.rows) < self.clean
        for rows, found in ((exact, True), (~exact, False)):
            if rows.any():
                filmed = film(joints_m[rows], rng, augment=True, noisy=not found, masked=not found)
                chunk.keypoints[rows], chunk.pose_m[rows] = filmed
        chunk.dt_s[:] = stride / self.fps
        chunk.reset[:, 0] = True
        return chunk
