"""Augmentation of motion and keypoints: other frame rates, mirror images, a detector's errors, missing joints.

Each transform is a function that returns new arrays. It takes one sequence or, with more axes before T, many at once; every
sequence is then transformed with random numbers of its own. Joints are (..., T, 17, 3) in metres, keypoints (..., T, 17, 3)
normalised x, y (image width = 2) and confidence.
A missing joint is (0, 0, 0): its confidence is 0, and that of every other joint is above 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import F32
from ...runtime.pose.skeleton import H36M17

# A detector's errors in normalised units (0.01 is 5 px in an image of 1000 px).
KEY_FRAMES = 9  # an independent error every so many frames, linear in between: a detector's errors last for several frames
GAUSSIAN_SHARE = 0.9
OUTLIER = 0.03
JITTER = 0.002
CONFIDENCE_NOISE = 0.05
JOINT_LOSS, FRAME_LOSS = 0.05, 0.10  # chance of each joint, and of each frame, to be missing
LOWEST_CONFIDENCE = 0.02  # of a detected joint; 0 means missing
SIGMA = np.array(
    [
        0.012 if joint.endswith(("wrist", "ankle"))
        else 0.008 if joint.endswith(("knee", "elbow", "nose", "head"))
        else 0.005
        for joint in H36M17.joints
    ],
    np.float32,
)  # fmt: skip

LIMBS = ((1, 2, 3), (4, 5, 6), (11, 12, 13), (14, 15, 16))  # legs and arms: right, left, left, right
_PAIRS = ((LIMBS[0], LIMBS[1]), (LIMBS[2], LIMBS[3]))
_MIRRORED = list(H36M17.mirrored)


def pick_frames(rng: np.random.Generator, frames: int, *, stride: int = 1, drop: float = 0.0) -> NDArray[np.int64]:
    """The frames of a clip that a slower camera delivers if it loses some of them.

    Args:
        frames: number of frames at the clip's own rate.
        stride: take each stride-th.
        drop: chance of each taken frame but the first to be lost.

    Returns:
        (n,) rising indices that start with 0.
    """
    picked = np.arange(0, frames, stride, dtype=np.int64)
    if drop <= 0:
        return picked
    lost = rng.random(len(picked)) < drop
    lost[0] = False
    return picked[~lost]


def frame_steps(picked: NDArray[np.int64], *, fps: float, stride: int = 1) -> F32:
    """(n,) seconds since the previous one of the frames (n,); the first frame counts as one nominal step."""
    return (np.diff(picked, prepend=picked[0] - stride) / fps).astype(np.float32)


def mirror(joints_m: F32) -> F32:
    """Joints or keypoints of the mirrored person: x negated, left and right swapped."""
    mirrored: F32 = joints_m[..., _MIRRORED, :] * np.array([-1, 1, 1], np.float32)
    return mirrored


def mirror_half(joints_m: F32, rng: np.random.Generator) -> F32:
    """Each sequence mirrored with a chance of one half."""
    chosen = rng.random(joints_m.shape[:-3]) < 0.5
    return np.where(chosen[..., None, None, None], mirror(joints_m), joints_m)


def detector_noise(rng: np.random.Generator, xy: F32) -> tuple[F32, F32]:
    """Normalised keypoints (..., T, 17, 2) with a detector's errors, and its confidence (..., T, 17).

    The error of a joint is drawn at key frames, from a Gaussian or, in a tenth of the cases, as an outlier, and interpolated in
    between; white jitter is added. Confidence is about 1 without error, about 0.3 at an error of 0.03, and noisy itself.
    """
    *batch, frames, joints, _ = xy.shape
    keys = (*batch, (frames - 1) // KEY_FRAMES + 2, joints)
    gaussian = rng.standard_normal((*keys, 2), np.float32) * SIGMA[:, None]
    outlier = (rng.random((*keys, 2), np.float32) * 2 - 1) * np.float32(OUTLIER)
    error_at_key = np.where(rng.random((*keys, 1)) < GAUSSIAN_SHARE, gaussian, outlier)

    key, between = np.divmod(np.arange(frames), KEY_FRAMES)
    weight = (between / KEY_FRAMES).astype(np.float32)[:, None, None]
    error = (1 - weight) * error_at_key[..., key, :, :] + weight * error_at_key[..., key + 1, :, :]
    error += rng.standard_normal(error.shape, np.float32) * np.float32(JITTER)

    squared = (error**2).sum(axis=-1)
    confidence = np.exp(squared * np.float32(np.log(0.3) / 0.03**2))
    confidence += rng.standard_normal(confidence.shape, np.float32) * np.float32(CONFIDENCE_NOISE)
    return (xy + error).astype(np.float32), np.clip(confidence, LOWEST_CONFIDENCE, 1).astype(np.float32)


def mask(rng: np.random.Generator, keypoints: F32) -> F32:
    """Keypoints (..., T, 17, 3) with missing joints, frames and limbs and with confused sides, as often as they are in use."""
    return drop_joints(rng, drop_limbs(rng, confuse_sides(rng, keypoints)))


def drop_joints(rng: np.random.Generator, keypoints: F32) -> F32:
    """Single joints and whole frames set to missing, independently of each other (MotionBERT's 5 % and 10 %)."""
    lost = rng.random(keypoints.shape[:-1]) < JOINT_LOSS  # (..., T, 17)
    lost |= rng.random((*keypoints.shape[:-2], 1)) < FRAME_LOSS
    return np.where(lost[..., None], np.float32(0), keypoints)


def drop_limbs(rng: np.random.Generator, keypoints: F32, *, every: float = 250.0) -> F32:
    """One limb set to missing for 5 to 30 frames, on average once in ``every`` frames."""
    masked, frames = keypoints.copy(), keypoints.shape[-3]
    times = rng.poisson(frames / every, keypoints.shape[:-3])
    for index in np.argwhere(times):
        for _ in range(times[tuple(index)]):
            start = rng.integers(frames)
            masked[(*index, slice(start, start + rng.integers(5, 31)), LIMBS[rng.integers(len(LIMBS))])] = 0
    return masked


def confuse_sides(rng: np.random.Generator, keypoints: F32, *, chance: float = 0.01) -> F32:
    """Left and right legs, or arms, exchanged for 1 to 5 frames in this share of the sequences, as by a confused detector."""
    chosen = np.argwhere(rng.random(keypoints.shape[:-3]) < chance)
    if not len(chosen):
        return keypoints
    swapped = keypoints.copy()
    for index in chosen:
        start = rng.integers(keypoints.shape[-3])
        span = slice(start, start + rng.integers(1, 6))
        a, b = _PAIRS[rng.integers(len(_PAIRS))]
        swapped[(*index, span, a)], swapped[(*index, span, b)] = keypoints[(*index, span, b)], keypoints[(*index, span, a)]
    return swapped
