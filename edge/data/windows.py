"""Windows: whole, evenly spaced stretches of takes, for a lifter that sees a window at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...runtime.errors import UsageError
from .mocap import Clip
from .takes import JOINTS, Chunk, make_take


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
        if not clips:
            raise UsageError("there are no clips to train on", expected="at least one clip")
        if rows < 1 or frames < 1:
            raise UsageError(f"{rows} windows of {frames} frames", expected="at least one of each")
        self.clips, self.rows, self.frames, self.clean = list(clips), rows, frames, clean
        self._strides = [stride for stride, _ in strides]
        weights = np.array([weight for _, weight in strides])
        self._weights = weights / weights.sum()
        self._upto = np.cumsum([len(clip) for clip in clips])
        self._rng = np.random.default_rng(seed)

    def __next__(self) -> Chunk:
        shape, rng = (self.rows, self.frames), self._rng
        chunk = Chunk(
            keypoints=np.empty((*shape, JOINTS, 3), np.float32),
            pose_m=np.empty((*shape, JOINTS, 3), np.float32),
            dt_s=np.empty(shape, np.float32),
            reset=np.zeros(shape, np.bool_),
        )
        chunk.reset[:, 0] = True
        for row in range(self.rows):
            clip = self.clips[int(np.searchsorted(self._upto, rng.integers(self._upto[-1]), side="right"))]
            stride, exact = int(rng.choice(self._strides, p=self._weights)), rng.random() < self.clean
            span = (self.frames - 1) * stride + 1
            take = make_take(clip, rng, augment=True, noisy=not exact, masked=not exact, stride=stride, frames=span)
            seen = np.minimum(np.arange(self.frames), len(take) - 1)
            chunk.keypoints[row], chunk.pose_m[row] = take.keypoints[seen], take.pose_m[seen]
            chunk.dt_s[row] = stride / clip.fps
        return chunk
