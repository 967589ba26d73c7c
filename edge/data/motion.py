"""What an artefact is verified on: real motion as a detector would see it, or procedural walkers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...calib.measure.rollout import Recording
from ...runtime.artefact.certificate import MotionSource, StreamInfo
from ...runtime.errors import UsageError
from ...runtime.sources.synthetic import SyntheticSource
from .augment import frame_steps, pick_frames
from .mocap import Clip, load_clips
from .sequences import Take, make_take

Floats = NDArray[np.float32]
WALKER_FPS = 50.0
STREAMS = 4


@dataclass(frozen=True)
class Pace:
    """A camera that films each stride-th frame of a clip, and loses a share of them."""

    stride: int
    lost: float


# Of clips at 50 Hz: 50 Hz, the same at uneven times, 25 and 12.5 Hz. One stream after the other takes the next.
PACES = (Pace(1, 0.0), Pace(1, 0.2), Pace(2, 0.0), Pace(4, 0.0))


def real_motion(
    data: Path, *, frames: int, streams: int = STREAMS, split: str = "test", seed: int = 0, in_use: bool = False
) -> tuple[list[Recording], MotionSource]:
    """Streams of motion capture as a detector would see it: clip after clip, without a reset.

    Carrying the state across the cuts is harder than any run of one person, and lets an error build up if there is one. Each
    stream has its own pace and its own order of clips; when it has seen all of them, it sees them by other cameras.

    Args:
        frames: of each stream.
        in_use: with what a detector misses and mistakes, and a reset wherever somebody else begins.
    """
    clips = load_clips(data, split)
    if not clips:
        raise UsageError(f"{data} has no {split} split", expected="clips to lift")
    filmed = [_film(clips, _pace(row), frames, np.random.default_rng([seed, row]), in_use) for row in range(streams)]
    recordings, seen = zip(*filmed, strict=True)
    return list(recordings), MotionSource(
        kind=f"motion capture, projected, with a detector's noise{', gaps and swaps' if in_use else ''}",
        source=data.name,
        sha256=hashlib.sha256(data.read_bytes()).hexdigest(),
        frames=frames,
        streams=seen,
        noisy=True,
        seed=seed,
    )


def walker_motion(*, frames: int, streams: int = STREAMS, seed: int = 0) -> tuple[list[Recording], MotionSource]:
    """Streams of procedural walkers, each another one at its own pace: when there is no real motion, and said so."""
    recordings = [_walk(_pace(row), frames, seed=1000 * seed + row) for row in range(streams)]
    digest = hashlib.sha256()
    for recording in recordings:
        digest.update(recording.keypoints.tobytes())
    return recordings, MotionSource(
        kind="procedural walkers",
        source="synthetic://walk",
        sha256=digest.hexdigest(),
        frames=frames,
        streams=tuple(_filmed(_pace(row), WALKER_FPS, ()) for row in range(streams)),
        noisy=True,
        seed=seed,
    )


def _pace(row: int) -> Pace:
    return PACES[row % len(PACES)]


def _filmed(pace: Pace, fps: float, clips: Sequence[str]) -> StreamInfo:
    return StreamInfo(fps=fps / pace.stride, lost=pace.lost, clips=tuple(clips))


def _film(
    clips: Sequence[Clip], pace: Pace, frames: int, rng: np.random.Generator, in_use: bool
) -> tuple[Recording, StreamInfo]:
    """That many frames of the clips in an order of their own, and again, until they are enough."""
    takes: list[Take] = []
    order: list[int] = []
    while sum(len(take) for take in takes) < frames:
        order = order or rng.permutation(len(clips)).tolist()
        clip = clips[order.pop()]
        takes.append(
            make_take(clip, rng, augment=False, noisy=True, masked=in_use, stride=pace.stride, start=0, drop=pace.lost)
        )
    keypoints, dt_s, truth = (
        np.concatenate(parts)[:frames]
        for parts in zip(*((take.keypoints, take.dt_s, take.pose_m) for take in takes), strict=True)
    )
    cut = np.concatenate([np.arange(len(take)) == 0 for take in takes])[:frames]
    return _recording(keypoints, dt_s, truth, cut, forget=in_use), _filmed(pace, clips[0].fps, [take.clip_id for take in takes])


def _walk(pace: Pace, frames: int, *, seed: int) -> Recording:
    """That many frames of one walker."""
    fps = WALKER_FPS / pace.stride
    needed = frames
    while len(kept := pick_frames(np.random.default_rng(seed), needed, drop=pace.lost)) < frames:
        needed += frames - len(kept)
    kept = kept[:frames]
    with SyntheticSource(people=1, fps=fps, seed=seed, noise_px=3.0, frames=int(kept[-1]) + 1) as source:
        seen = [(frame.people[0], frame.truth_m[0]) for frame in source if frame.truth_m is not None]
    keypoints, truth = (np.stack(of)[kept] for of in zip(*seen, strict=True))
    return _recording(keypoints, frame_steps(kept, fps=fps), truth, np.zeros(frames, np.bool_))


def _recording(keypoints: Floats, dt_s: Floats, truth: Floats, cut: NDArray[np.bool_], *, forget: bool = False) -> Recording:
    reset = np.zeros(len(keypoints), np.bool_)
    reset[0] = True
    if forget:
        reset |= cut
    return Recording(keypoints, dt_s, reset, truth, cut & ~reset)
