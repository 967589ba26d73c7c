"""The reference lifts: recordings through the PyTorch model, the state of each carried from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..calib.measure.recording import Recording
from ..runtime.arrays import F32
from .lifter import ExportableLifter

BLOCK = 100  # frames that a causal lifter takes at once
OnProgress = Callable[[int], None]


def lift_reference(
    model: ExportableLifter,
    recordings: Sequence[Recording],
    *,
    chunk: int | None = None,
    on_progress: OnProgress = lambda frames: None,
) -> list[F32]:
    """(T, J, 3) poses of each recording by the PyTorch model in float32; those of a window model, window by window.

    Args:
        chunk: T_s of a chunk graph. Frames of a chunk may see one another, so the reference is cut at the same frames.
        on_progress: called with the number of frames just lifted.
    """
    with torch.no_grad():
        if model.state_shape is None:
            return [_lift_windows(model, recording, on_progress) for recording in recordings]
        if chunk is None:
            return _lift_steps(model, recordings, on_progress)
        return [_lift_chunks(model, recording, chunk, on_progress) for recording in recordings]


def _lift_steps(model: ExportableLifter, recordings: Sequence[Recording], on_progress: OnProgress) -> list[F32]:
    """All recordings as rows of one batch. A row that has ended repeats its last frame, and those poses are dropped."""
    if not recordings:
        return []
    longest = max(map(len, recordings))
    # A causal lifter computes the same in blocks of steps, resets included; with lookahead, a block would see more than a step.
    block = 1 if model.config.lookahead else BLOCK
    rows = [[_padded(array, longest) for array in (item.keypoints, item.dt_s, item.reset)] for item in recordings]
    x, dt, reset = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*rows, strict=True))
    state, blocks = model.initial_state(len(recordings)), []
    for start in range(0, longest, block):
        span = slice(start, start + block)
        y, state = model.chunk(x[:, span], state, dt[:, span], reset[:, span])
        blocks.append(y.numpy())
        on_progress(sum(len(range(*span.indices(len(recording)))) for recording in recordings))
    poses = np.concatenate(blocks, axis=1)  # (B, T, J, 3)
    return [row[: len(recording)] for row, recording in zip(poses, recordings, strict=True)]


def _lift_chunks(model: ExportableLifter, recording: Recording, frames: int, on_progress: OnProgress) -> F32:
    state, poses = model.initial_state(1), []
    for count, chunk in recording.chunks(frames):
        x, dt, reset = (torch.from_numpy(array[None]) for array in (chunk.keypoints, chunk.dt_s, chunk.reset))
        y, state = model.chunk(x, state, dt, reset)
        poses.append(y[0, :count].numpy())
        on_progress(count)
    return np.concatenate(poses)


def _lift_windows(model: ExportableLifter, recording: Recording, on_progress: OnProgress) -> F32:
    assert model.config.window is not None
    poses = []
    for count, window in recording.windows(model.config.window):
        y = model(torch.from_numpy(window.keypoints[None]))[0, :count]
        poses.append(y.expand(count, -1, -1).numpy())  # a single pose is that of every frame of the window
        on_progress(count)
    return np.concatenate(poses)


def _padded(array: NDArray[np.generic], frames: int) -> NDArray[np.generic]:
    """(frames, ...): the array with its last frame repeated."""
    return np.pad(array, ((0, frames - len(array)), *[(0, 0)] * (array.ndim - 1)), mode="edge")
