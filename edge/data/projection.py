"""Projection: motion in the world becomes pairs of keypoints and poses, seen by cameras drawn at random."""

from __future__ import annotations

import numpy as np

from ...runtime.arrays import F32
from ...runtime.pose.keypoints import normalise_screen
from .augment import detector_noise, mask, mirror_half, reshape_body
from .camera import sample_camera
from .limb_swap import augment_limbs


def project(joints_m: F32, rng: np.random.Generator, *, augment: bool, noisy: bool, masked: bool) -> tuple[F32, F32]:
    """Keypoints and poses, both (..., T, 17, 3), of joints (..., T, 17, 3) in the world; each sequence has its own camera.

    Args:
        joints_m: world axes, metres.
        augment: reshape the body and mirror half of the sequences; in a batch (B, T, 17, 3) also swap limbs between some of
            them.
        noisy: add a detector's errors and confidence; otherwise keypoints are exact, with confidence 1.
        masked: add missing and swapped joints.
    """
    if augment:
        if joints_m.ndim == 4:
            joints_m = augment_limbs(joints_m, rng)
        joints_m = mirror_half(reshape_body(joints_m, rng), rng)
    camera = sample_camera(rng, joints_m)
    points = camera.to_camera(joints_m)  # camera axes
    keypoints_px = np.concatenate([camera.project(points), np.ones_like(points[..., :1])], axis=-1)
    keypoints = normalise_screen(keypoints_px, width_px=camera.width_px, height_px=camera.height_px)
    if noisy:
        keypoints[..., :2], keypoints[..., 2] = detector_noise(rng, keypoints[..., :2])
    return mask(rng, keypoints) if masked else keypoints, points - points[..., :1, :]
