"""The motion that an artefact is verified on: motion capture as a detector would see it, or procedural walkers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...calib.measure.recording import Recording
from ...runtime.arrays import F32
from ...runtime.artefact.certificate import MotionSource, StreamInfo
from ...runtime.artefact.files import sha256 as file_sha256
from ...runtime.errors import UsageError
from ...runtime.sources.synthetic import SyntheticSource
from .augment import frame_steps, pick_frames
from .dataset import is_recorded, open_data
from .mocap import load_clips
from .sequences import DatasetItem, PoseSequence, longest_valid, make_sequence

WALKER_FPS = 50.0
STREAMS = 4
CAPTURED = "motion capture, projected, with a detector's noise"


@dataclass(frozen=True)
class FrameSampling:
    """Which frames a camera delivers: each ``stride``-th of a clip, of which it loses the share ``lost``."""

    stride: int
    lost: float


# One stream after the other takes the next. Of clips at 50 Hz: 50 Hz, 50 Hz at uneven times, 25 and 12.5 Hz.
FRAME_SAMPLINGS = (FrameSampling(1, 0.0), FrameSampling(1, 0.2), FrameSampling(2, 0.0), FrameSampling(4, 0.0))


def real_motion(
    data: Path, *, frames: int, streams: int = STREAMS, split: str = "test", seed: int = 0, in_use: bool = False
) -> tuple[list[Recording], MotionSource]:
    """Streams of motion capture as a detector would see it, or of recorded sequences: one after the other, without a reset.

    A state that is carried across the cuts between clips drifts more than on any sequence of one person, so an error that
    accumulates shows. Each stream has its own frame sampling and order of clips; after the last clip it starts over with other
    cameras.

    Args:
        data: clips or recorded sequences, see ``open_data``.
        frames: of each stream.
        split: the clips to use. Recorded sequences have no val: their train is taken in its place.
        in_use: also mask and swap joints, and reset the state where another person begins.
    """
    clips, recorded = _items(data, split)
    if not clips:
        raise UsageError(f"{data} has no {split} split", expected="a file with clips of this split")
    pairs = [
        _project_stream(clips, _sampling(row), frames, np.random.default_rng([seed, row]), in_use) for row in range(streams)
    ]
    recordings, infos = zip(*pairs, strict=True)
    return list(recordings), MotionSource(
        kind=f"{'recorded sequences' if recorded else CAPTURED}{', gaps and swaps' if in_use else ''}",
        source=data.name,
        sha256=file_sha256(data),
        frames=frames,
        streams=infos,
        noisy=not recorded,
        seed=seed,
    )


def _items(data: Path, split: str) -> tuple[Sequence[DatasetItem], bool]:
    """The clips of a split; or the recorded sequences, the valid part of each, and that they are recorded."""
    if is_recorded(data):
        sequences = open_data(data, "train" if split == "val" else split)
        parts = [longest_valid(sequence) for sequence in sequences if isinstance(sequence, PoseSequence)]
        return [part for part in parts if len(part)], True
    return load_clips(data, split), False


def walker_motion(*, frames: int, streams: int = STREAMS, seed: int = 0) -> tuple[list[Recording], MotionSource]:
    """Streams of procedural walkers, each with its own body and frame sampling: what is used without motion capture."""
    recordings = [_walker_stream(_sampling(row), frames, seed=1000 * seed + row) for row in range(streams)]
    digest = sha256()
    for recording in recordings:
        digest.update(recording.keypoints.tobytes())
    return recordings, MotionSource(
        kind="procedural walkers",
        source="synthetic://walk",
        sha256=digest.hexdigest(),
        frames=frames,
        streams=tuple(_stream_info(_sampling(row), WALKER_FPS, ()) for row in range(streams)),
        noisy=True,
        seed=seed,
    )


def _sampling(row: int) -> FrameSampling:
    return FRAME_SAMPLINGS[row % len(FRAME_SAMPLINGS)]


def _stream_info(sampling: FrameSampling, fps: float, clips: Sequence[str]) -> StreamInfo:
    return StreamInfo(fps=fps / sampling.stride, lost=sampling.lost, clips=tuple(clips))


def _project_stream(
    clips: Sequence[DatasetItem], sampling: FrameSampling, frames: int, rng: np.random.Generator, in_use: bool
) -> tuple[Recording, StreamInfo]:
    """The clips in a random order, repeated in other orders until there are that many frames."""
    sequences: list[PoseSequence] = []
    order: list[int] = []
    while sum(len(sequence) for sequence in sequences) < frames:
        order = order or rng.permutation(len(clips)).tolist()
        clip = clips[order.pop()]
        sequences.append(
            make_sequence(
                clip, rng, augment=False, noisy=True, masked=in_use, stride=sampling.stride, start=0, drop=sampling.lost
            )
        )
    keypoints, dt_s, truth = (
        np.concatenate([getattr(projected, name) for projected in sequences])[:frames]
        for name in ("keypoints", "dt_s", "pose_m")
    )
    known = [sequence.intrinsics for sequence in sequences if sequence.intrinsics is not None]
    intrinsics = np.concatenate(known)[:frames] if len(known) == len(sequences) else None
    cut = np.concatenate([np.arange(len(sequence)) == 0 for sequence in sequences])[:frames]
    info = _stream_info(sampling, clips[0].fps, [sequence.clip_id for sequence in sequences])
    return _recording(keypoints, dt_s, truth, cut, intrinsics, reset_at_cuts=in_use), info


def _walker_stream(sampling: FrameSampling, frames: int, *, seed: int) -> Recording:
    """That many frames of one walker."""
    fps = WALKER_FPS / sampling.stride
    needed = frames
    while len(picked := pick_frames(np.random.default_rng(seed), needed, drop=sampling.lost)) < frames:
        needed += frames - len(picked)
    picked = picked[:frames]
    with SyntheticSource(people=1, fps=fps, seed=seed, noise_px=3.0, frames=int(picked[-1]) + 1) as source:
        pairs = [(frame.keypoints[0].normalised(), frame.truth_m[0]) for frame in source if frame.truth_m is not None]
        intrinsics = np.tile(
            source.camera.intrinsics.where_picture_is_2_wide(source.camera.width_px, source.camera.height_px), (frames, 1)
        )
    keypoints, truth = (np.stack(arrays)[picked] for arrays in zip(*pairs, strict=True))
    return _recording(keypoints, frame_steps(picked, fps=fps), truth, np.zeros(frames, np.bool_), intrinsics)


def _recording(
    keypoints: F32, dt_s: F32, truth: F32, cut: NDArray[np.bool_], intrinsics: F32 | None, *, reset_at_cuts: bool = False
) -> Recording:
    reset = np.zeros(len(keypoints), np.bool_)
    reset[0] = True
    if reset_at_cuts:
        reset |= cut
    return Recording(keypoints, dt_s, reset, truth, cut & ~reset, intrinsics)
