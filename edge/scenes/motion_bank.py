"""MotionBank: all training motion as one tensor, and the choice of the frames of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...runtime.arrays import F64
from ...runtime.errors import UsageError
from ..data.batches import STRIDES
from ..data.mocap import Clip

IRREGULAR_SHARE = 0.1  # of the rows lose frames at random
MOST_LOST = 0.4  # of the frames of such a row
RARE_WEIGHT = 4.0  # a frame with the hip low, or the trunk far from upright, counts as so many
LOW_HIP_M, LEANING = 0.65, 0.77  # hip above the lower ankle; cosine of 40 degrees


@dataclass(frozen=True, eq=False)
class FrameChoice:
    """Which frames the rows of a batch show; all arrays are (rows, frames).

    Args:
        index: into ``MotionBank.joints_m``.
        dt_s: seconds since the frame before.
        reset: true where another clip begins.
    """

    index: Tensor
    dt_s: Tensor
    reset: Tensor


class MotionBank:
    """The clips of a training, one after the other on the device.

    Frames of rare postures, such as squatting or bending down, are chosen more often.

    Args:
        clips: all at one frame rate.
        device: where the tensor lies.

    Raises:
        UsageError: no clips, or clips of several frame rates.
    """

    def __init__(self, clips: Sequence[Clip], *, device: torch.device | str = "cpu") -> None:
        if not clips:
            raise UsageError("there are no clips to train on", expected="at least one clip")
        if len({clip.fps for clip in clips}) > 1:
            raise UsageError(
                f"{len(clips)} clips at {sorted({clip.fps for clip in clips})} Hz", expected="clips of one rate: resample them"
            )
        self.fps = clips[0].fps
        joints = np.concatenate([clip.joints_m for clip in clips])
        self.joints_m = torch.from_numpy(joints).to(device)  # (N, 17, 3) world, metres
        self._length = np.array([len(clip) for clip in clips])
        self._first = np.cumsum(self._length) - self._length
        self._clip_of = np.repeat(np.arange(len(clips)), self._length)
        self._cumulative = np.cumsum(np.where(is_rare(joints), RARE_WEIGHT, 1.0))

    def __len__(self) -> int:
        return len(self._clip_of)

    @property
    def device(self) -> torch.device:
        return self.joints_m.device

    def draw_windows(
        self, rng: np.random.Generator, rows: int, frames: int, *, strides: Sequence[tuple[int, float]] = STRIDES
    ) -> FrameChoice:
        """Whole, evenly spaced parts of clips, all at one rate. A clip that is too short repeats its last frame.

        Args:
            strides: (stride, weight) pairs: the clip's rate, half or a quarter of it.
        """
        stride = _draw_stride(rng, strides, ())
        drawn = self._draw_frames(rng, rows)  # each is somewhere in its window
        clip = self._clip_of[drawn]
        first, length = self._first[clip], self._length[clip]
        offset = stride * np.arange(frames)
        start = np.clip(drawn - first - offset[rng.integers(frames, size=rows)], 0, np.maximum(length - 1 - offset[-1], 0))
        index = first[:, None] + np.minimum(start[:, None] + offset, length[:, None] - 1)
        reset = np.zeros((rows, frames), np.bool_)
        reset[:, 0] = True
        return self._on_device(index, np.full((rows, frames), stride), reset)

    def draw_streams(
        self, rng: np.random.Generator, rows: int, frames: int, *, strides: Sequence[tuple[int, float]] = STRIDES
    ) -> FrameChoice:
        """Parts of clips, one after the other in each row: where one ends, the next begins with a reset. Some rows lose frames.

        Args:
            strides: (stride, weight) pairs, drawn for each row.
        """
        parts = [self._draw_row(rng, frames, int(stride)) for stride in _draw_stride(rng, strides, (rows,))]
        index, advance, reset = (np.stack(arrays) for arrays in zip(*parts, strict=True))
        return self._on_device(index, advance, reset)

    def _on_device(self, index: NDArray[np.int64], advance: NDArray[np.int64], reset: NDArray[np.bool_]) -> FrameChoice:
        dt_s = (advance / self.fps).astype(np.float32)
        return FrameChoice(*(torch.from_numpy(array).to(self.device) for array in (index, dt_s, reset)))

    def _draw_frames(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        drawn = np.searchsorted(self._cumulative, rng.random(count) * self._cumulative[-1], side="right")
        return np.asarray(np.minimum(drawn, len(self) - 1), np.int64)

    def _draw_row(
        self, rng: np.random.Generator, frames: int, stride: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Indices, frames of the clip since the frame before, and resets of one row, each (frames,)."""
        lost = rng.uniform(0, MOST_LOST) if rng.random() < IRREGULAR_SHARE else 0.0
        index = np.empty(frames, np.int64)
        advance = np.full(frames, stride, np.int64)
        reset = np.zeros(frames, np.bool_)
        filled = 0
        while filled < frames:
            count = frames - filled
            step = np.full(count, stride, np.int64)
            if lost:
                step *= rng.geometric(1 - lost, count)
            step[0] = 0
            offset = np.cumsum(step)
            drawn = int(self._draw_frames(rng, 1)[0])  # this frame is somewhere in the part
            clip = self._clip_of[drawn]
            first, length = int(self._first[clip]), int(self._length[clip])
            start = drawn - first - int(offset[rng.integers(count)])
            start = max(0, min(start, length - 1 - int(offset[-1])))
            count = int(np.searchsorted(offset, length - start))  # frames until the clip ends
            index[filled : filled + count] = first + start + offset[:count]
            advance[filled + 1 : filled + count] = step[1:count]
            reset[filled] = True
            filled += count
        return index, advance, reset


def is_rare(joints_m: F64 | NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N,) whether a body (N, 17, 3), world, z up, has its hip low or its trunk far from upright."""
    trunk = joints_m[:, 8] - joints_m[:, 0]
    upright = trunk[:, 2] / np.maximum(np.linalg.norm(trunk, axis=-1), 1e-6)
    hip_m = joints_m[:, 0, 2] - np.minimum(joints_m[:, 3, 2], joints_m[:, 6, 2])
    rare: NDArray[np.bool_] = (hip_m < LOW_HIP_M) | (upright < LEANING)
    return rare


def _draw_stride(rng: np.random.Generator, strides: Sequence[tuple[int, float]], shape: tuple[int, ...]) -> NDArray[np.int64]:
    steps, weights = (np.array(values) for values in zip(*strides, strict=True))
    bounds = np.cumsum(weights / weights.sum())[:-1]
    return np.asarray(steps[np.searchsorted(bounds, rng.random(shape), side="right")], np.int64)
