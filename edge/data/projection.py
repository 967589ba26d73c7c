"""Projection: motion in the world becomes pairs of keypoints and poses, seen by cameras drawn at random."""

from __future__ import annotations

import numpy as np

from ...runtime.arrays import F32
from ...runtime.pose.keypoints import normalise_screen
from .augment import detector_noise, mask, mirror_half
from .camera import Camera, sample_camera


def film(joints_m: F32, camera: Camera, rng: np.random.Generator, *, noisy: bool) -> tuple[F32, F32, F32]:
    """Keypoints, poses and intrinsics, as ``project`` gives them, of joints (..., T, 17, 3) before a given camera."""
    points = camera.to_camera(joints_m)  # camera axes
    xy_px = camera.project(points)
    keypoints_px = np.concatenate([xy_px, np.ones_like(points[..., :1])], axis=-1)
    keypoints = normalise_screen(keypoints_px, width_px=camera.width_px, height_px=camera.height_px)
    if noisy:
        keypoints[..., :2], keypoints[..., 2] = detector_noise(rng, keypoints[..., :2])
    keypoints[~camera.contains(xy_px)] = 0
    intrinsics = np.broadcast_to(camera.intrinsics[..., None, :], (*joints_m.shape[:-2], 4)).copy()
    return keypoints, points - points[..., :1, :], intrinsics


def project(joints_m: F32, rng: np.random.Generator, *, augment: bool, noisy: bool, masked: bool) -> tuple[F32, F32, F32]:
    """Keypoints and poses, both (..., T, 17, 3), of joints (..., T, 17, 3) in the world; each sequence has its own camera.

    A joint outside the picture is missing, since no detector finds it.

    Args:
        joints_m: world axes, metres.
        augment: mirror half of the sequences.
        noisy: add a detector's errors and confidence; otherwise keypoints are exact, with confidence 1.
        masked: add missing and swapped joints.

    Returns:
        Keypoints, poses, and the cameras' intrinsics (..., T, 4).
    """
    if augment:
        joints_m = mirror_half(joints_m, rng)
    keypoints, pose_m, intrinsics = film(joints_m, sample_camera(rng, joints_m), rng, noisy=noisy)
    return mask(rng, keypoints) if masked else keypoints, pose_m, intrinsics
