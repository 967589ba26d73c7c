"""Pose sequences: what one camera sees of one person, as pairs of 2D keypoints and 3D poses."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import F32
from ...runtime.errors import UsageError
from ...runtime.pose.camera import renormalise_by_camera
from ...runtime.pose.keypoints import View
from ...runtime.pose.skeleton import H36M17
from .augment import frame_steps, mask, mirror, pick_frames
from .mocap import Clip

JOINTS = len(H36M17)
STEADY_S = 1e-5  # time steps that differ by less belong to one frame rate


Pairs = tuple[F32, F32, F32 | None]
"""Keypoints (..., T, 17, 3), poses (..., T, 17, 3), intrinsics (..., T, 4) or None where they are not known."""


class DatasetItem(Protocol):
    """What pose sequences are cut from: a ``Clip``, projected by a random camera, or a recorded ``PoseSequence``."""

    @property
    def id(self) -> str: ...

    @property
    def action(self) -> str: ...

    @property
    def fps(self) -> float:
        """Frames per second."""

    @property
    def frames(self) -> F32:
        """(T, ...): all that ``make_pairs`` needs of each frame."""

    def __len__(self) -> int: ...

    def make_pairs(self, frames: F32, rng: np.random.Generator, *, augment: bool, noisy: bool, masked: bool) -> Pairs:
        """Keypoints and poses, both (..., T, 17, 3), and intrinsics, of frames (..., T, ...) of any item of this kind.

        The options are those of ``make_sequence``.
        """


@dataclass(frozen=True)
class PoseSequence:
    """T frames of one person: what a detector finds, and the true poses. A recorded one is also a dataset item.

    Args:
        keypoints: (T, 17, 3) float32, normalised x, y and confidence; a missing joint is (0, 0, 0).
        pose_m: (T, 17, 3) float32, metres from the root, camera axes: x right, y down, z forward.
        dt_s: (T,) float32, seconds since the previous frame; the first frame counts as one nominal step.
        clip_id: the clip that the sequence comes from.
        action: what the person does, "" if unknown.
        valid: (T,) true where the pose counts; None if all do. Models receive the other frames too; metrics leave them out.
        intrinsics: (T, 4) float32 fx, fy, cx, cy where the picture is 2 wide, as keypoints are normalised; None if not known.
    """

    keypoints: F32
    pose_m: F32
    dt_s: F32
    clip_id: str
    action: str = ""
    valid: NDArray[np.bool_] | None = None
    intrinsics: F32 | None = None

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def valid_mask(self) -> NDArray[np.bool_]:
        """(T,) ``valid`` with None expanded to all true."""
        return np.ones(len(self), np.bool_) if self.valid is None else self.valid

    def keypoints_for(self, *, view: View) -> F32:
        """(T, 17, 3) keypoints for a lifter with that view: for "person" normalised by the camera, if it is known."""
        if view != "person" or self.intrinsics is None:
            return self.keypoints
        return renormalise_by_camera(self.keypoints, self.intrinsics)

    @property
    def id(self) -> str:
        return self.clip_id

    @property
    def fps(self) -> float:
        """Frames per second.

        Raises:
            UsageError: the time steps differ.
        """
        if np.ptp(self.dt_s) > STEADY_S:
            raise UsageError(f"sequence {self.clip_id} has no single frame rate", expected="frames at even times")
        return float(1 / self.dt_s[0])

    @property
    def frames(self) -> F32:
        """(T, 2, 17, 3): keypoints and poses.

        Raises:
            UsageError: some frames are not valid.
        """
        if not self.valid_mask.all():
            raise UsageError(
                f"sequence {self.clip_id} has frames that are not valid", expected="training sequences of valid frames only"
            )
        return np.stack([self.keypoints, self.pose_m], axis=1)

    @staticmethod
    def make_pairs(frames: F32, rng: np.random.Generator, *, augment: bool, noisy: bool, masked: bool) -> Pairs:
        """Recorded keypoints and poses, both (..., T, 17, 3); ``augment`` mirrors half of them, noise is never added."""
        if augment:
            chosen = rng.random(frames.shape[:-4]) < 0.5
            frames = np.where(chosen[..., None, None, None, None], mirror(frames), frames)
        keypoints, pose_m = frames[..., 0, :, :], frames[..., 1, :, :]  # (..., T, 17, 3)
        return mask(rng, keypoints) if masked else keypoints, pose_m, None


def make_sequence(
    item: DatasetItem,
    rng: np.random.Generator,
    *,
    augment: bool,
    noisy: bool,
    masked: bool,
    stride: int = 1,
    start: int | None = None,
    frames: int | None = None,
    drop: float = 0.0,
) -> PoseSequence:
    """Project a clip by a random camera, or cut a part of a recorded sequence.

    The camera is drawn before the noise, so the same generator gives the same view with and without noise.

    Args:
        augment: mirror half of the sequences.
        noisy: add a detector's errors and confidence to a clip; otherwise keypoints are exact, with confidence 1.
        masked: add missing and swapped joints.
        stride: take each stride-th frame.
        start: first frame; None draws one that leaves room for ``frames``.
        frames: how many of the item's frames to span, at most; None spans all of them.
        drop: chance of each frame to be lost, so that ``dt_s`` is irregular.
    """
    length = len(item)
    span = length if frames is None else min(frames, length)
    if start is None:
        start = int(rng.integers(length - span + 1))
    if span < 1 or stride < 1 or not 0 <= start < length:
        raise UsageError(
            f"no sequence of {span} frames from frame {start} with stride {stride} in clip {item.id}",
            expected=f"at least one frame, a stride of at least 1, a start from 0 to {length - 1}",
        )
    picked = pick_frames(rng, min(span, length - start), stride=stride, drop=drop)
    frames_of_item = item.frames[start + picked]
    keypoints, pose_m, intrinsics = item.make_pairs(frames_of_item, rng, augment=augment, noisy=noisy, masked=masked)
    return PoseSequence(
        keypoints=keypoints,
        pose_m=pose_m,
        dt_s=frame_steps(picked, fps=item.fps, stride=stride),
        clip_id=item.id,
        action=item.action,
        intrinsics=intrinsics,
    )


def longest_valid(sequence: PoseSequence) -> PoseSequence:
    """The longest part of a sequence whose frames are all valid; empty if none is."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], sequence.valid_mask, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    start, end = (0, 0) if not len(starts) else max(zip(starts, ends, strict=True), key=lambda span: span[1] - span[0])
    return replace(
        sequence,
        keypoints=sequence.keypoints[start:end],
        pose_m=sequence.pose_m[start:end],
        dt_s=sequence.dt_s[start:end],
        valid=None,
        intrinsics=None if sequence.intrinsics is None else sequence.intrinsics[start:end],
    )


def mirror_sequence(sequence: PoseSequence) -> PoseSequence:
    """The mirrored person before the mirrored camera."""
    intrinsics = sequence.intrinsics
    if intrinsics is not None:
        intrinsics = intrinsics * np.array([1, 1, -1, 1], np.float32)  # the principal point moves to the other side
    keypoints, pose_m = mirror(sequence.keypoints), mirror(sequence.pose_m)
    return replace(sequence, keypoints=keypoints, pose_m=pose_m, intrinsics=intrinsics)


def clip_rng(clip_id: str, seed: int = 0) -> np.random.Generator:
    """A random generator derived from the clip's id, so that every run draws the same camera and noise for a clip."""
    return np.random.default_rng([seed, zlib.crc32(clip_id.encode())])


def evaluation_sequences(
    clips: Sequence[Clip], *, noisy: bool, seed: int = 0, stride: int = 1, drop: float = 0.0
) -> list[PoseSequence]:
    """Each clip whole, as one camera sees it: the sequences that accuracy is reported on.

    Camera and noise follow from the seed and the clip's id alone. A clip therefore looks the same in any selection of clips,
    and its exact and its noisy sequence share the camera. Noise is the detector's, without masking: no joint is missing.

    Args:
        noisy: add a detector's errors and confidence.
        stride: take each stride-th frame, as a slower camera would.
        drop: chance of each frame to be lost.
    """
    options = {"augment": False, "noisy": noisy, "masked": False}
    return [make_sequence(clip, clip_rng(clip.id, seed), start=0, stride=stride, drop=drop, **options) for clip in clips]
