"""Virtual cameras: where they stand, what they see.

World axes: metres, z up. Camera axes: metres, x right, y down, z forward. Pixels: x right, y down from the upper left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

IN_FRAME = 0.95  # share of all joints of a path that has to be inside the image
NEAREST_M = 1.0  # and no joint is nearer than this
_REDRAWS = 10
_RETREATS = 25  # of 10 % each: at most eleven times as far


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    Args:
        rotation: (3, 3) camera_from_world; rows are right, down, forward in world axes.
        eye_m: (3,) its place in the world.
        focal_px, centre_px: (2,) x, y.
        width_px, height_px: the image; Human3.6M's by default.
    """

    rotation: Floats
    eye_m: Floats
    focal_px: Floats
    centre_px: Floats
    width_px: int = 1000
    height_px: int = 1002

    def to_camera(self, joints_m: Floats) -> Floats:
        """World (..., 3) to camera axes (..., 3), both in metres."""
        flat: Floats = np.matmul((joints_m - self.eye_m).reshape(-1, 3), self.rotation.T)  # one product, not one per frame
        return flat.reshape(joints_m.shape)

    def project(self, points_in_camera: Floats) -> Floats:
        """Camera axes (..., 3) in metres to pixels (..., 2); points have to lie in front of the camera."""
        px: Floats = points_in_camera[..., :2] / points_in_camera[..., 2:] * self.focal_px + self.centre_px
        return px

    def sees(self, joints_m: Floats) -> bool:
        """Whether a path (T, 17, 3) in the world is in view: 95 % of the joints in the frame, all deeper than 1 m."""
        points = self.to_camera(joints_m)
        if points[..., 2].min() <= NEAREST_M:
            return False
        x, y = np.moveaxis(self.project(points), -1, 0)
        inside = (x >= 0) & (x < self.width_px) & (y >= 0) & (y < self.height_px)
        return bool(inside.mean() >= IN_FRAME)


def sample_camera(rng: np.random.Generator, path_m: Floats) -> Camera:
    """A still camera as in Human3.6M's room that has a whole path (T, 17, 3), world, metres, in view.

    A camera is drawn up to ten times; if none sees the path, the last one steps back until it does. A path too large
    for eleven times its distance is returned with that farthest camera.
    """
    root = path_m[:, 0]  # (T, 3)
    middle = (root.min(axis=0) + root.max(axis=0)) / 2
    camera = _draw(rng, middle)
    for _ in range(_REDRAWS):
        if camera.sees(path_m):
            return camera
        camera = _draw(rng, middle)
    for _ in range(_RETREATS):
        if camera.sees(path_m):
            break
        forward = camera.rotation[2]
        distance_m = max(float((middle - camera.eye_m) @ forward), NEAREST_M)
        camera = replace(camera, eye_m=camera.eye_m - np.float32(0.1 * distance_m) * forward)
    return camera


def _draw(rng: np.random.Generator, target_m: Floats) -> Camera:
    """A camera about a target (3,), aimed at it with a cameraman's error."""
    azimuth, height_m, distance_m = rng.uniform(0, 2 * np.pi), rng.uniform(1, 2), rng.uniform(2.5, 6)
    eye = np.array([target_m[0] + distance_m * np.cos(azimuth), target_m[1] + distance_m * np.sin(azimuth), height_m])
    forward = target_m + rng.normal(0, [0.15, 0.15, 0.10]) - eye
    forward /= np.linalg.norm(forward)
    level = np.cross(forward, [0.0, 0.0, 1.0])
    level /= np.linalg.norm(level)
    roll = rng.normal(0, np.radians(1.5))
    right = np.cos(roll) * level + np.sin(roll) * np.cross(forward, level)
    return Camera(
        rotation=np.stack([right, np.cross(forward, right), forward]).astype(np.float32),
        eye_m=eye.astype(np.float32),
        focal_px=rng.uniform(1145, 1150, 2).astype(np.float32),
        centre_px=rng.uniform(508, 516, 2).astype(np.float32),
    )
