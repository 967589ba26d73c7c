"""Virtual cameras: where they stand, what they see. One, or with more axes before the others many at once.

World axes: metres, z up. Camera axes: metres, x right, y down, z forward. Pixels: x right, y down from the upper left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

IN_FRAME = 0.95  # share of all joints of a path that has to be inside the image
NEAREST_M = 1.0  # and no joint is nearer than this
_REDRAWS = 10
_RETREATS = 25  # of 10 % each: at most eleven times as far


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion, or a batch of them.

    Args:
        rotation: (..., 3, 3) camera_from_world; rows are right, down, forward in world axes.
        eye_m: (..., 3) its place in the world.
        focal_px, centre_px: (..., 2) x, y.
        width_px, height_px: the image; Human3.6M's by default.
    """

    rotation: Floats
    eye_m: Floats
    focal_px: Floats
    centre_px: Floats
    width_px: int = 1000
    height_px: int = 1002

    def to_camera(self, joints_m: Floats) -> Floats:
        """World (..., 3) to camera axes (..., 3), both in metres; the first axes are the batch's."""
        flat = joints_m.reshape(*self.eye_m.shape[:-1], -1, 3) - self.eye_m[..., None, :]  # one product, not one per frame
        points: Floats = np.matmul(flat, self.rotation.swapaxes(-1, -2))
        return points.reshape(joints_m.shape)

    def project(self, points_in_camera: Floats) -> Floats:
        """Camera axes (..., 3) in metres to pixels (..., 2); points have to lie in front of the camera."""
        points = points_in_camera.reshape(*self.eye_m.shape[:-1], -1, 3)
        px: Floats = points[..., :2] / points[..., 2:] * self.focal_px[..., None, :] + self.centre_px[..., None, :]
        return px.reshape(*points_in_camera.shape[:-1], 2)

    def sees(self, joints_m: Floats) -> NDArray[np.bool_]:
        """Whether a path (..., T, 17, 3) in the world is in view: 95 % of the joints in the frame, all deeper than 1 m."""
        points = self.to_camera(joints_m)
        x, y = np.moveaxis(self.project(points), -1, 0)
        inside = (x >= 0) & (x < self.width_px) & (y >= 0) & (y < self.height_px)
        near: NDArray[np.bool_] = points[..., 2].min(axis=(-2, -1)) <= NEAREST_M
        seen: NDArray[np.bool_] = ~near & (inside.mean(axis=(-2, -1)) >= IN_FRAME)
        return seen


def sample_camera(rng: np.random.Generator, path_m: Floats) -> Camera:
    """A still camera as in Human3.6M's room for each path (..., T, 17, 3), world, metres, that has the whole of it in view.

    A camera is drawn up to ten times; if none sees the path, the last one steps back until it does. A path too large
    for eleven times its distance is returned with that farthest camera.
    """
    root = path_m[..., 0, :]  # (..., T, 3)
    middle = (root.min(axis=-2) + root.max(axis=-2)) / 2
    camera = _draw(rng, middle)
    for _ in range(_REDRAWS):
        blind = ~np.asarray(camera.sees(path_m))
        if not blind.any():
            return camera
        again = _draw(rng, middle[blind])
        for name in ("rotation", "eye_m", "focal_px", "centre_px"):
            getattr(camera, name)[blind] = getattr(again, name)
    for _ in range(_RETREATS):
        blind = ~np.asarray(camera.sees(path_m))
        if not blind.any():
            break
        forward = camera.rotation[..., 2, :]
        distance_m = np.maximum(((middle - camera.eye_m) * forward).sum(-1, keepdims=True), np.float32(NEAREST_M))
        camera.eye_m[blind] -= (np.float32(0.1) * distance_m * forward)[blind]
    return camera


def _draw(rng: np.random.Generator, target_m: Floats) -> Camera:
    """A camera about each target (..., 3), aimed at it with a cameraman's error."""
    many = target_m.shape[:-1]
    azimuth, height_m, distance_m = rng.uniform(0, 2 * np.pi, many), rng.uniform(1, 2, many), rng.uniform(2.5, 6, many)
    x, y = target_m[..., 0] + distance_m * np.cos(azimuth), target_m[..., 1] + distance_m * np.sin(azimuth)
    eye = np.stack([x, y, height_m], axis=-1)
    forward = target_m + rng.normal(0, [0.15, 0.15, 0.10], (*many, 3)) - eye
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    level = np.cross(forward, [0.0, 0.0, 1.0])
    level /= np.linalg.norm(level, axis=-1, keepdims=True)
    roll = rng.normal(0, np.radians(1.5), many)[..., None]
    right = np.cos(roll) * level + np.sin(roll) * np.cross(forward, level)
    return Camera(
        rotation=np.stack([right, np.cross(forward, right), forward], axis=-2).astype(np.float32),
        eye_m=eye.astype(np.float32),
        focal_px=rng.uniform(1145, 1150, (*many, 2)).astype(np.float32),
        centre_px=rng.uniform(508, 516, (*many, 2)).astype(np.float32),
    )
