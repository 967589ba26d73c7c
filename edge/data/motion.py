"""What an artefact is verified on: real motion as a detector would see it, or the procedural walker."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...calib.rollout import Recording
from ...runtime.certificate import Motion
from ...runtime.errors import UsageError
from ...runtime.sources.synthetic import SyntheticSource
from .mocap import load_clips
from .takes import evaluation_takes

Floats = NDArray[np.float32]
WALKER_FPS = 50.0


def real_motion(data: Path, *, frames: int, split: str = "test", seed: int = 0) -> tuple[Recording, Motion]:
    """That many frames of motion capture as a detector would see them: clip after clip, in one stream, without a reset.

    Carrying the state across the cuts is harder than any run of one person, and lets an error build up if there is one.
    """
    clips = load_clips(data, split)
    keypoints: list[Floats] = []
    dt: list[Floats] = []
    used: list[str] = []
    count = 0
    for take in evaluation_takes(clips, noisy=True, seed=seed):
        keypoints.append(take.keypoints)
        dt.append(take.dt_s)
        used.append(take.clip_id)
        count += len(take)
        if count >= frames:
            break
    if count < frames:
        raise UsageError(f"{frames} frames asked of the {split} split", expected=f"at most {count}")
    recording = _recording(np.concatenate(keypoints)[:frames], np.concatenate(dt)[:frames])
    return recording, Motion(
        kind="motion capture, projected, with a detector's noise",
        source=data.name,
        sha256=hashlib.sha256(data.read_bytes()).hexdigest(),
        clips=tuple(used),
        frames=frames,
        fps=clips[0].fps,
        noisy=True,
        seed=seed,
    )


def walker_motion(*, frames: int, seed: int = 0) -> tuple[Recording, Motion]:
    """That many frames of the procedural walker: when there is no real motion, and said so."""
    with SyntheticSource(people=1, fps=WALKER_FPS, seed=seed, noise_px=3.0, frames=frames) as source:
        keypoints = np.stack([frame.people[0] for frame in source])
    recording = _recording(keypoints, np.full(frames, 1 / WALKER_FPS, np.float32))
    return recording, Motion(
        kind="procedural walker",
        source="synthetic://walk",
        sha256=hashlib.sha256(keypoints.tobytes()).hexdigest(),
        clips=(),
        frames=frames,
        fps=WALKER_FPS,
        noisy=True,
        seed=seed,
    )


def _recording(keypoints: Floats, dt_s: Floats) -> Recording:
    reset = np.zeros(len(keypoints), np.bool_)
    reset[0] = True
    return Recording(keypoints, dt_s, reset)
