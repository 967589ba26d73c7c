"""What training does to motion and to keypoints: other bodies, other frame rates, a detector's errors, missing joints.

Each transform is a function that returns new arrays, of one take or, with more axes before T, of many at once, each with luck
of its own. Joints are (..., T, 17, 3) in metres, keypoints (..., T, 17, 3) normalised x, y (image width = 2) and confidence.
A missing joint is (0, 0, 0), so confidence 0 means missing and nothing else does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.pose.skeleton import H36M17

Floats = NDArray[np.float32]

# Bones by the joint at their end, left and right alike, and the range of their factor. The wide ranges of hips and shoulders
# reach from CMU's definition of these joints to Human3.6M's.
BONE_GROUPS: dict[str, tuple[tuple[int, ...], tuple[float, float]]] = {
    "hips": ((1, 4), (0.9, 1.5)),
    "thighs": ((2, 5), (0.9, 1.1)),
    "shins": ((3, 6), (0.9, 1.1)),
    "torso": ((7, 8), (0.9, 1.1)),
    "neck_head": ((9, 10), (0.9, 1.1)),
    "shoulders": ((11, 14), (0.75, 1.1)),
    "upper_arms": ((12, 15), (0.9, 1.1)),
    "forearms": ((13, 16), (0.9, 1.1)),
}
BODY_RANGE = (0.85, 1.15)

# A detector's errors in normalised units (0.01 is 5 px in an image of 1000 px).
KEY_FRAMES = 9  # one independent error every so many frames, linear in between: a detector errs for a while
GAUSSIAN_SHARE = 0.9
OUTLIER = 0.03
JITTER = 0.002
CONFIDENCE_NOISE = 0.05
LOWEST_CONFIDENCE = 0.02  # of a joint that was found; 0 is kept for missing ones
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
    """Which of a clip's frames a slower, stumbling camera would deliver.

    Args:
        frames: number of frames at the clip's own rate.
        stride: keep each stride-th.
        drop: chance of each kept frame but the first to be lost.

    Returns:
        (n,) rising indices that start with 0.
    """
    kept = np.arange(0, frames, stride, dtype=np.int64)
    if drop <= 0:
        return kept
    lost = rng.random(len(kept)) < drop
    lost[0] = False
    return kept[~lost]


def frame_steps(kept: NDArray[np.int64], *, fps: float, stride: int = 1) -> Floats:
    """Seconds since the previous kept frame (n,); the first frame counts as one nominal step."""
    return (np.diff(kept, prepend=kept[0] - stride) / fps).astype(np.float32)


def mirror(joints_m: Floats) -> Floats:
    """Joints or keypoints of the mirrored person: x negated, left and right swapped."""
    mirrored: Floats = joints_m[..., _MIRRORED, :] * np.array([-1, 1, 1], np.float32)
    return mirrored


def mirror_half(joints_m: Floats, rng: np.random.Generator) -> Floats:
    """Every other take as its mirror image."""
    chosen = rng.random(joints_m.shape[:-3]) < 0.5
    return np.where(chosen[..., None, None, None], mirror(joints_m), joints_m)


def reshape_body(joints_m: Floats, rng: np.random.Generator) -> Floats:
    """The same motion by another body: another size, other proportions, the same left and right.

    The whole body and its path are scaled by one factor, then each bone group by its own, chained from the root along
    unchanged bone directions.
    """
    takes = joints_m.shape[:-3]
    factors = np.ones((*takes, len(H36M17)))
    body = rng.uniform(*BODY_RANGE, takes)
    for bones, limits in BONE_GROUPS.values():
        factors[..., list(bones)] = rng.uniform(*limits, takes)[..., None]
    rebuild = (
        _CHAIN * factors[..., None, :] @ _BONES * body[..., None, None]
    )  # (..., 17, 17): all of it is linear in the joints
    reshaped: Floats = np.matmul(rebuild[..., None, :, :].astype(np.float32), joints_m)
    return reshaped


def detector_noise(rng: np.random.Generator, xy: Floats) -> tuple[Floats, Floats]:
    """Normalised keypoints (..., T, 17, 2) as a detector would find them, and its confidence (..., T, 17).

    The error is a mixture per joint and key frame, a Gaussian or now and then an outlier, that lasts for some frames,
    plus white jitter. Confidence is about 1 without error and about 0.3 at 0.03, with noise of its own.
    """
    *takes, frames, joints, _ = xy.shape
    keys = (*takes, (frames - 1) // KEY_FRAMES + 2, joints)
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


def mask(rng: np.random.Generator, keypoints: Floats) -> Floats:
    """Keypoints with what goes missing or astray in use; see the parts for how often."""
    return drop_joints(rng, drop_limbs(rng, confuse_sides(rng, keypoints)))


def drop_joints(rng: np.random.Generator, keypoints: Floats, *, joints: float = 0.05, frames: float = 0.10) -> Floats:
    """Single joints and whole frames missing, independently of each other (MotionBERT's 5 % and 10 %)."""
    lost = rng.random(keypoints.shape[:-1]) < joints  # (..., T, 17)
    lost |= rng.random((*keypoints.shape[:-2], 1)) < frames
    return np.where(lost[..., None], np.float32(0), keypoints)


def drop_limbs(rng: np.random.Generator, keypoints: Floats, *, every: float = 250.0) -> Floats:
    """One limb missing for 5 to 30 frames, on average once in ``every`` frames."""
    masked, frames = keypoints.copy(), keypoints.shape[-3]
    times = rng.poisson(frames / every, keypoints.shape[:-3])
    for take in np.argwhere(times):
        for _ in range(times[tuple(take)]):
            start = rng.integers(frames)
            masked[(*take, slice(start, start + rng.integers(5, 31)), LIMBS[rng.integers(len(LIMBS))])] = 0
    return masked


def confuse_sides(rng: np.random.Generator, keypoints: Floats, *, chance: float = 0.01) -> Floats:
    """The legs or the arms taken for each other for 1 to 5 frames, in this share of the takes."""
    chosen = np.argwhere(rng.random(keypoints.shape[:-3]) < chance)
    if not len(chosen):
        return keypoints
    swapped = keypoints.copy()
    for take in chosen:
        start = rng.integers(keypoints.shape[-3])
        span = slice(start, start + rng.integers(1, 6))
        a, b = _PAIRS[rng.integers(len(_PAIRS))]
        swapped[(*take, span, a)], swapped[(*take, span, b)] = keypoints[(*take, span, b)], keypoints[(*take, span, a)]
    return swapped


def _bones_and_chain() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Joints to bone vectors (17, 17), the root's being its place, and bone vectors back to joints."""
    bones = np.eye(len(H36M17))
    for parent, child in H36M17.bones:
        bones[child, parent] = -1
    return bones, np.asarray(np.linalg.inv(bones), np.float64)


_BONES, _CHAIN = _bones_and_chain()
