"""The reference lifts: recordings through the PyTorch model, the state of each carried from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..calib.measure.recording import Recording
from .lifter import ExportableLifter

BLOCK = 100  # frames that a causal lifter takes together

Floats = NDArray[np.float32]


def lift_reference(
    model: ExportableLifter,
    recordings: Sequence[Recording],
    *,
    chunk: int | None = None,
    tick: Callable[[int], None] = lambda frames: None,
) -> list[Floats]:
    """(T, J, 3) poses of each recording by the PyTorch model in float32; a window model's, window by window.

    Args:
        chunk: T_s of a chunk graph. Where frames of a chunk see one another, its borders are part of the question.
        tick: called with the number of frames that were just lifted.
    """
    with torch.no_grad():
        if model.state_shape is None:
            return [_windows(model, recording, tick) for recording in recordings]
        if chunk is None:
            return _steps(model, recordings, tick)
        return [_chunks(model, recording, chunk, tick) for recording in recordings]


def _steps(model: ExportableLifter, recordings: Sequence[Recording], tick: Callable[[int], None]) -> list[Floats]:
    """All recordings as rows of one batch; one that has ended repeats its last frame, and nobody looks."""
    if not recordings:
        return []
    longest = max(map(len, recordings))
    # A causal lifter's steps may be taken together, resets and all; one with lookahead would see more than its steps do.
    block = 1 if model.config.lookahead else BLOCK
    rows = [[_until(longest, of) for of in (r.keypoints, r.dt_s, r.reset)] for r in recordings]
    x, dt, reset = (torch.from_numpy(np.stack(of)) for of in zip(*rows, strict=True))
    state, poses = model.initial_state(len(recordings)), []
    for start in range(0, longest, block):
        span = slice(start, start + block)
        y, state = model.chunk(x[:, span], state, dt[:, span], reset[:, span])
        poses.append(y.numpy())
        tick(sum(len(range(*span.indices(len(recording)))) for recording in recordings))
    return [made[: len(recording)] for made, recording in zip(np.concatenate(poses, axis=1), recordings, strict=True)]


def _chunks(model: ExportableLifter, recording: Recording, frames: int, tick: Callable[[int], None]) -> Floats:
    state, poses = model.initial_state(1), []
    for given, part in recording.chunks(frames):
        x, dt, reset = (torch.from_numpy(array[None]) for array in (part.keypoints, part.dt_s, part.reset))
        y, state = model.chunk(x, state, dt, reset)
        poses.append(y[0, :given].numpy())
        tick(given)
    return np.concatenate(poses)


def _windows(model: ExportableLifter, recording: Recording, tick: Callable[[int], None]) -> Floats:
    assert model.config.window is not None
    poses = []
    for given, part in recording.windows(model.config.window):
        y = model(torch.from_numpy(part.keypoints[None]))[0, :given]
        poses.append(y.expand(given, -1, -1).numpy())  # if it is one pose, it is that of the whole window
        tick(given)
    return np.concatenate(poses)


def _until(frames: int, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """(frames, ...): the array, its last frame repeated."""
    return np.pad(array, ((0, frames - len(array)), *[(0, 0)] * (array.ndim - 1)), mode="edge")
