"""Filming: motion in the world, as pairs of keypoints and poses by cameras drawn at random."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.pose.keypoints import normalise_screen
from .augment import detector_noise, mask, mirror_half, reshape_body
from .camera import sample_camera
from .limb_swap import recombine

Floats = NDArray[np.float32]


def film(joints_m: Floats, rng: np.random.Generator, *, augment: bool, noisy: bool, masked: bool) -> tuple[Floats, Floats]:
    """Keypoints and poses, both (..., T, 17, 3), of joints in the world: each take by its own camera.

    Args:
        augment: another body, and every other time its mirror image; among many takes (B, T, 17, 3) some with limbs of others.
        noisy: with a detector's errors and confidence; otherwise exact, with confidence 1.
        masked: with missing and swapped joints.
    """
    if augment:
        if joints_m.ndim == 4:
            joints_m = recombine(joints_m, rng)
        joints_m = mirror_half(reshape_body(joints_m, rng), rng)
    camera = sample_camera(rng, joints_m)
    points = camera.to_camera(joints_m)  # camera axes
    keypoints_px = np.concatenate([camera.project(points), np.ones_like(points[..., :1])], axis=-1)
    keypoints = normalise_screen(keypoints_px, width_px=camera.width_px, height_px=camera.height_px)
    if noisy:
        keypoints[..., :2], keypoints[..., 2] = detector_noise(rng, keypoints[..., :2])
    return mask(rng, keypoints) if masked else keypoints, points - points[..., :1, :]
