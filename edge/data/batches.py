"""Training batches: several pose sequences side by side, and the random choice of what they are cut from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import F32
from ...runtime.errors import UsageError
from .sequences import JOINTS, DatasetItem

STRIDES = ((1, 0.6), (2, 0.25), (4, 0.15))  # (stride, weight): cameras at a clip's rate, half and a quarter of it


@dataclass(frozen=True)
class SequenceBatch:
    """Consecutive frames of several sequences side by side; all arrays are (rows, frames, ...).

    Args:
        keypoints, pose_m, dt_s: as in ``PoseSequence``.
        reset: (rows, frames) true where a sequence starts: a model's state from before belongs to another person.
    """

    keypoints: F32
    pose_m: F32
    dt_s: F32
    reset: NDArray[np.bool_]

    @classmethod
    def empty(cls, rows: int, frames: int) -> SequenceBatch:
        """A batch of that size whose arrays the caller fills; ``reset`` is false everywhere."""
        return cls(
            keypoints=np.empty((rows, frames, JOINTS, 3), np.float32),
            pose_m=np.empty((rows, frames, JOINTS, 3), np.float32),
            dt_s=np.empty((rows, frames), np.float32),
            reset=np.zeros((rows, frames), np.bool_),
        )


class DatasetSampler:
    """Draws dataset items in proportion to their length, and strides by their weights.

    Args:
        dataset: the items.
        strides: (stride, weight) pairs.
    """

    def __init__(self, dataset: Sequence[DatasetItem], strides: Sequence[tuple[int, float]]) -> None:
        if not dataset:
            raise UsageError("there are no clips to train on", expected="at least one clip")
        weights = np.array([weight for _, weight in strides], np.float64)
        if not len(weights) or weights.min() < 0 or weights.sum() <= 0 or min(stride for stride, _ in strides) < 1:
            raise UsageError(
                f"invalid strides {strides}", expected="(stride, weight) pairs, strides from 1, some weight above 0"
            )
        self._strides = [stride for stride, _ in strides]
        self._stride_bounds = np.cumsum(weights / weights.sum())[:-1]
        self._item_ends = np.cumsum([len(item) for item in dataset])

    def draw_items(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """(count,) indices of items: each is the item of a frame drawn from all frames."""
        return np.searchsorted(self._item_ends, rng.integers(self._item_ends[-1], size=count), side="right")

    def draw_stride(self, rng: np.random.Generator) -> int:
        """One of the strides."""
        return self._strides[int(np.searchsorted(self._stride_bounds, rng.random(), side="right"))]
